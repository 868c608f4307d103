"""Images of TensorFlow Datasets (TFDS), such as all of CIFAR-10.

A folder that is prepared in the array_record format is read without TensorFlow; preparing one needs TensorFlow.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jnas.data._dataset import Dataset
from jnas.errors import JnasError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

TFDS_NAME = r"([\w\-]+:)?[a-zA-Z]\w*(/[\w+\-.]+)?(:\d+\.\d+\.\d+)?"
"""A regular expression of names such as cifar10, emnist/letters and cifar10:3.0.2."""
_NOT_RANDOM_ACCESS = (
    "{name} must be prepared in the array_record format, which is read without TensorFlow: prepare it again with "
    "tfds.builder(..., file_format='array_record'), or give an .npz file."
)


def load_tfds_folder(folder: Path, classes: int | None) -> Dataset:
    """Returns the data set that is prepared in a folder or up to three folders below it."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    prepared = sorted({info.parent for depth in depths for info in folder.glob(f"{depth}dataset_info.json")})
    if len(prepared) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in prepared) or "none"
        raise JnasError(
            f"{folder} must hold one prepared TensorFlow Datasets folder (with a dataset_info.json), got {names}: name "
            "the folder of one version, such as cifar10/3.0.2."
        )
    import tensorflow_datasets as tfds

    return _read(tfds.builder_from_directory(prepared[0]), str(prepared[0]), classes)


def load_tfds_name(name: str, classes: int | None) -> Dataset:
    """Returns a data set by its name in TensorFlow Datasets; it is downloaded and prepared if it is not."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
    except (tfds.core.DatasetNotFoundError, ImportError) as error:
        raise JnasError(
            f"The source of images must be a file, a folder or a name of TensorFlow Datasets, got {name!r}: give "
            "'excerpt' for the bundled images, 'cifar10', the path of an .npz file or of a prepared folder."
        ) from error
    except ValueError as error:  # it is prepared, but in another format
        raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        if importlib.util.find_spec("tensorflow") is None:
            raise JnasError(
                f"{name} is not prepared in {builder.data_dir} and TensorFlow, which preparing it needs, is not "
                "installed: pip install 'jnas[tfds]', or give an .npz file or a prepared folder."
            )
        try:
            builder.download_and_prepare()
        except Exception as error:  # the network, the disk and TensorFlow raise many types
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise JnasError(
                f"TensorFlow Datasets could not prepare {name} ({reason}): check the network and the disk, or give an "
                ".npz file or a prepared folder."
            ) from error
    return _read(builder, name, classes)


def _read(builder: tfds.core.DatasetBuilder, name: str, classes: int | None) -> Dataset:
    features: Any = builder.info.features
    missing = [split for split in ("train", "test") if split not in builder.info.splits]
    missing += [feature for feature in ("image", "label") if feature not in features]
    if missing:
        raise JnasError(
            f"{name} must have the splits train and test, and the features image and label, got no "
            f"{' and no '.join(missing)}."
        )
    # Without OpenCV, TFDS decodes with Pillow and warns that this is slower.
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        sources: Any = builder.as_data_source()
        train, test = _stack(sources["train"]), _stack(sources["test"])
    except NotImplementedError as error:  # TFDS has random access to array_record and parquet only
        raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
    finally:
        absl.setLevel(level)
    return Dataset(name, *train, *test, classes=classes or features["label"].num_classes)


def _stack(source: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    examples = [source[i] for i in range(len(source))]
    shapes = {example["image"].shape for example in examples}
    if len(shapes) > 1:
        raise JnasError(f"The images must have one size, got {len(shapes)} different shapes.")
    return np.stack([e["image"] for e in examples]), np.array([e["label"] for e in examples], np.int32)
