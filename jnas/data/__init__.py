"""Images and labels from folders, tables, arrays and TensorFlow Datasets, and the bundled excerpt of CIFAR-10."""

from jnas.data._augment import (
    alternating_hflip,
    hflip,
    normalise,
    random_cut_out,
    random_hflip,
    random_translate,
    translate,
)
from jnas.data._dataset import Dataset, Split
from jnas.data._images import check_images
from jnas.data._labels import check_labels
from jnas.data._load import IN_MEMORY_SOURCE, load_data
from jnas.data._pixels import convert_images
from jnas.data._predictions import PictureFiles, read_pictures
from jnas.data._sizes import Fit, size_text, to_fit, to_size

__all__ = [
    "IN_MEMORY_SOURCE",
    "Dataset",
    "Fit",
    "PictureFiles",
    "Split",
    "alternating_hflip",
    "check_images",
    "check_labels",
    "convert_images",
    "hflip",
    "load_data",
    "normalise",
    "random_cut_out",
    "random_hflip",
    "random_translate",
    "read_pictures",
    "size_text",
    "to_fit",
    "to_size",
    "translate",
]
