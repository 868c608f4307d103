"""Image sets of TensorFlow Datasets, such as the full CIFAR-10.

A prepared folder in the array_record format is read without TensorFlow. Preparing one needs it.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jnas.data._dataset import Dataset
from jnas.errors import JnasError

_NOT_RANDOM_ACCESS = (
    "{name} is prepared in a format that only TensorFlow reads: prepare it again with "
    "tfds.builder(..., file_format='array_record'), or give an .npz file."
)


def load_tfds_folder(folder: Path, classes: int | None) -> Dataset:
    """The prepared set at or below `folder`, with its splits `train` and `test`."""
    depths = ("", "*/", "*/*/", "*/*/*/")
    prepared = sorted({info.parent for depth in depths for info in folder.glob(f"{depth}dataset_info.json")})
    if len(prepared) != 1:
        found = ", ".join(str(path.relative_to(folder)) for path in prepared) or "none"
        raise JnasError(
            f"{folder} should hold one prepared TensorFlow Datasets folder (with a dataset_info.json), but it holds "
            f"{found}: name the folder of one version, such as cifar10/3.0.2."
        )
    import tensorflow_datasets as tfds

    return _read(tfds.builder_from_directory(prepared[0]), str(prepared[0]), classes)


def load_tfds_name(name: str, classes: int | None) -> Dataset:
    """The set that TensorFlow Datasets calls `name`, from its data folder; prepared first where it is not."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
    except (tfds.core.registered.DatasetNotFoundError, ImportError) as error:
        raise JnasError(
            f"{name!r} is no file, no folder and no data set that TensorFlow Datasets knows: give 'excerpt' for the "
            "embedded images, 'cifar10', the path of an .npz file or of a prepared folder."
        ) from error
    except ValueError as error:  # TFDS: prepared before, and in another format
        raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
    if not (Path(builder.data_dir) / "dataset_info.json").exists():
        if importlib.util.find_spec("tensorflow") is None:
            raise JnasError(
                f"{name} is not prepared in {builder.data_dir} and TensorFlow, which preparing it needs, is not "
                "installed: pip install 'jnas[tfds]', or give an .npz file or a prepared folder."
            )
        try:
            builder.download_and_prepare()
        except Exception as error:  # whatever the network, the disk or TensorFlow may raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise JnasError(
                f"TensorFlow Datasets could not prepare {name} ({reason}): check the network and the disk, or give an "
                ".npz file or a prepared folder."
            ) from error
    return _read(builder, name, classes)


def _read(builder, name: str, classes: int | None) -> Dataset:
    features, splits = builder.info.features, builder.info.splits
    lacking = [split for split in ("train", "test") if split not in splits]
    lacking += [feature for feature in ("image", "label") if feature not in features]
    if lacking:
        raise JnasError(
            f"{name} has no {' and no '.join(lacking)}: jnas reads sets of one image and one label, with the splits "
            "train and test."
        )
    # Without OpenCV, TFDS decodes with Pillow and warns that this is slower: nothing that a user must know.
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        arrays = [array for split in ("train", "test") for array in _stack(builder.as_data_source(split=split))]
    except NotImplementedError as error:  # TFDS: random access is there for array_record and parquet only
        raise JnasError(_NOT_RANDOM_ACCESS.format(name=name)) from error
    finally:
        absl.setLevel(level)
    return Dataset(name, *arrays, classes=classes or features["label"].num_classes)


def _stack(source: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    examples = [source[i] for i in range(len(source))]
    shapes = {example["image"].shape for example in examples}
    if len(shapes) > 1:
        raise JnasError(f"The images have {len(shapes)} different shapes: jnas trains on images of one size.")
    return np.stack([e["image"] for e in examples]), np.array([e["label"] for e in examples], np.int32)
