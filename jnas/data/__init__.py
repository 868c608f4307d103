"""Images and labels: the bundled excerpt of CIFAR-10, TensorFlow Datasets, .npz files and arrays."""

from jnas.data._augment import alternating_hflip, hflip, normalise, random_hflip, random_translate
from jnas.data._dataset import Dataset, Split
from jnas.data._load import IN_MEMORY_SOURCE, load_data

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
