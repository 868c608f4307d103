"""Images and labels: the bundled excerpt of CIFAR-10, TensorFlow Datasets, .npz files and arrays."""

from jnas.data._augment import alternating_hflip, hflip, normalise, random_hflip, random_translate, translate
from jnas.data._dataset import Dataset, Split
from jnas.data._images import check_images
from jnas.data._labels import check_labels
from jnas.data._load import IN_MEMORY_SOURCE, load_data

__all__ = [
    "IN_MEMORY_SOURCE",
    "Dataset",
    "Split",
    "alternating_hflip",
    "check_images",
    "check_labels",
    "hflip",
    "load_data",
    "normalise",
    "random_hflip",
    "random_translate",
    "translate",
]
