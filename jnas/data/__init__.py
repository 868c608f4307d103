"""Images on the device: the embedded excerpt, TensorFlow Datasets, your own arrays."""

from jnas.data._augment import normalise as normalise
from jnas.data._dataset import Dataset as Dataset
from jnas.data._dataset import Split as Split
from jnas.data._load import ARRAYS as ARRAYS
from jnas.data._load import load_data as load_data
