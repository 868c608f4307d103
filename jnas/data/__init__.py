"""Images and labels: the bundled excerpt of CIFAR-10, TensorFlow Datasets, .npz files and arrays."""

from jnas.data._augment import alternating_hflip as alternating_hflip
from jnas.data._augment import hflip as hflip
from jnas.data._augment import normalise as normalise
from jnas.data._augment import random_hflip as random_hflip
from jnas.data._augment import random_translate as random_translate
from jnas.data._dataset import Dataset as Dataset
from jnas.data._dataset import Split as Split
from jnas.data._load import IN_MEMORY_SOURCE as IN_MEMORY_SOURCE
from jnas.data._load import load_data as load_data

__all__ = [
    "IN_MEMORY_SOURCE",
    "Dataset",
    "Split",
    "alternating_hflip",
    "hflip",
    "load_data",
    "normalise",
    "random_hflip",
    "random_translate",
]
