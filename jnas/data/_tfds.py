"""Images of TensorFlow Datasets (TFDS), such as all of CIFAR-10.

A folder that is prepared in the array_record format is read without TensorFlow; preparing one needs TensorFlow.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jnas._runtime.logs import quiet_logging
from jnas._validation import shown
from jnas.data._arrays import load_arrays
from jnas.data._dataset import Dataset
from jnas.data._files import printable, sample
from jnas.data._listing import find_split
from jnas.data._reading import check_memory
from jnas.data._sizes import Fit, Size
from jnas.errors import JnasError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

TFDS_NAME = r"[a-zA-Z]\w*(/[\w\-]+)?(:\d+\.\d+\.\d+)?"
"""A regular expression of names such as cifar10, emnist/letters and cifar10:3.0.2."""
_NOT_RANDOM_ACCESS = (
    "{name} must be prepared in the array_record format, which is read without TensorFlow, got another; prepare it "
    "again with tfds.builder(..., file_format='array_record'), or give an .npz file."
)


def find_prepared(folder: Path) -> list[Path]:
    """Returns the data sets that are prepared in a folder or up to three folders below it."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    return sorted({info.parent for depth in depths for info in folder.glob(f"{depth}dataset_info.json")})


def load_tfds_folder(
    folder: Path, prepared: Sequence[Path], classes: int | None, size: Size | None, fit: Fit
) -> Dataset:
    """Returns the data set that is prepared in a folder, which must be the only one there."""
    if len(prepared) != 1:
        names = ", ".join(printable(path.relative_to(folder)) for path in prepared[:3])
        raise JnasError(
            f"{printable(folder)} must hold one prepared TensorFlow Datasets folder (with a dataset_info.json), got "
            f"{names}; give the folder of one version, such as cifar10/3.0.2, or an .npz file of the images."
        )
    import tensorflow_datasets as tfds
    from google.protobuf import json_format

    name = printable(prepared[0])
    try:
        return _read(tfds.builder_from_directory(prepared[0]), name, classes, size, fit)
    except JnasError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, json_format.Error) as error:
        raise JnasError(
            f"{name} must hold a whole data set of TensorFlow Datasets, got damaged or missing files "
            f"({_quote(error)}); copy or prepare it again."
        ) from error


def _names_here() -> list[str]:
    """Files and folders of the working folder."""
    try:
        return os.listdir()
    except OSError:
        return []


def load_tfds_name(name: str, classes: int | None, size: Size | None, fit: Fit) -> Dataset:
    """Returns a data set by its name in TensorFlow Datasets; it is downloaded and prepared if it is not."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
    except (tfds.core.DatasetNotFoundError, ImportError) as error:
        others = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(name, _names_here(), 1) or difflib.get_close_matches(name, others, 1)
        raise JnasError(
            f"There is no file, folder or data set of TensorFlow Datasets named {shown(name)}: check the name"
            f"{f' ({printable(near[0])} is one)' if near else ''}, or give a folder with a sub-folder a class, a CSV, "
            "Parquet or .npz file, 'excerpt' or 'cifar10'."
        ) from error
    except (ValueError, AssertionError) as error:
        if "file format" in str(error).lower():
            raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
        raise JnasError(
            f"{name} must be a name, configuration and version of TensorFlow Datasets, got another ({_quote(error)}); "
            "give a name such as 'emnist/letters' or 'cifar10:3.0.2'."
        ) from error
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        if importlib.util.find_spec("tensorflow") is None:
            raise JnasError(
                f"{name} is not prepared in {builder.data_dir} and TensorFlow, which preparing it needs, is not "
                "installed: pip install 'jnas[tfds]', or give an .npz file or a prepared folder."
            )
        try:
            builder.download_and_prepare()
        except Exception as error:  # the network, the disk and TensorFlow raise many types
            raise JnasError(
                f"TensorFlow Datasets could not prepare {name} ({type(error).__name__}: {_quote(error)}): prepare it "
                "again, or give an .npz file or a prepared folder."
            ) from error
    return _read(builder, name, classes, size, fit)


def _quote(error: Exception) -> str:
    """Returns the cause in what TensorFlow Datasets says, in one short line."""
    text = " ".join(str(error).rpartition('}": ')[2].split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 100 else f"{text[:97]}..."


def _read(builder: tfds.core.DatasetBuilder, name: str, classes: int | None, size: Size | None, fit: Fit) -> Dataset:
    """Returns the splits train, validation and test, of which the last two may be missing; or the only split."""
    features: Any = builder.info.features
    splits = {}
    for split, info in builder.info.splits.items():
        if info.num_examples and (part := find_split(split)):
            splits.setdefault(part, split)
    if len(builder.info.splits) == 1:
        splits = {"train": next(iter(builder.info.splits))}
    missing = [feature for feature in ("image", "label") if feature not in features]
    missing += ["train"] if "train" not in splits else []
    if missing:
        raise JnasError(
            f"{name} must have a split train and the features image and label, got no {' and no '.join(missing)}; give "
            "another data set, or arrays."
        )
    arrays: dict[str, Any] = {}
    try:
        with quiet_logging():  # without OpenCV, TFDS decodes with Pillow and warns that this is slower
            sources: Any = builder.as_data_source()
            for part, split in splits.items():
                if len(sources[split]):
                    arrays[f"x_{part}"], arrays[f"y_{part}"] = _stack(sources[split], name)
    except NotImplementedError as error:  # TFDS has random access to array_record and parquet only
        raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
    label = features["label"]
    classes = classes or getattr(label, "num_classes", None)
    names = getattr(label, "names", None) or []
    if len(names) == classes and names != [str(number) for number in range(len(names))]:
        arrays["class_names"] = names
    unused = sorted(set(builder.info.splits) - set(splits.values()))
    notes = [f"Splits that are not used: {sample(unused)}."] if unused else []
    return load_arrays(name, arrays, classes, size, fit, notes=notes)


def _stack(source: Sequence[dict], name: str) -> tuple[Any, np.ndarray]:
    """Returns images as one array, or in a list where they have several sizes; and their labels."""
    first = source[0]["image"]
    check_memory(name, (len(source), *first.shape), first.itemsize)
    array, others, labels = np.empty((len(source), *first.shape), first.dtype), [], []
    for index in range(len(source)):
        example = source[index]
        if not others and example["image"].shape != first.shape:
            others = list(array[:index])
        if others:
            others.append(example["image"])
        else:
            array[index] = example["image"]
        labels.append(example["label"])
    return others or array, np.array(labels, np.int32)
