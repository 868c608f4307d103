"""Images on the device: the embedded excerpt, TensorFlow Datasets, your own arrays."""

from jnas.data.augment import normalise as normalise
from jnas.data.dataset import Dataset as Dataset
from jnas.data.dataset import Split as Split
from jnas.data.load import ARRAYS as ARRAYS
from jnas.data.load import load_data as load_data
