"""One function for every source of images, and the arrays of a dictionary or an .npz file."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jnas.data._dataset import Dataset
from jnas.data._excerpt import load_excerpt
from jnas.data._tfds import load_tfds_folder, load_tfds_name
from jnas.errors import JnasError

IN_MEMORY_SOURCE = "arrays"
"""What a store has as the source of images that were given as arrays: they cannot be read from it again."""
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_EXPECTED_ARRAYS = "x_train, y_train and, if there are test images, x_test and y_test"


def load_data(
    source: str | Path | Mapping[str, ArrayLike] | Dataset = "excerpt", classes: int | None = None
) -> Dataset:
    """Returns the images and labels of any source.

    Args:
      source: one of
        "excerpt", the bundled 5,000 images of CIFAR-10 (4,000 for training, 1,000 for testing);
        the path of an .npz file with uint8 images `x_train`, labels `y_train` and, optionally, `x_test`, `y_test`;
        a dictionary with the same arrays;
        the path of a prepared TensorFlow Datasets folder;
        a name of TensorFlow Datasets, such as "cifar10";
        a `Dataset`, which is returned as it is.
      classes: the number of classes, if it is not the largest training label plus one.

    Raises:
      JnasError: if there is no such source, or it is not a labelled set of uint8 images of one size.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, Mapping):
        return _from_arrays("your arrays", "The arrays", source, classes)
    if source == "excerpt":
        return load_excerpt(classes)
    path = Path(source).expanduser()
    if path.is_dir():
        return load_tfds_folder(path, classes)
    if path.is_file():
        return _load_npz(path, classes)
    if path.suffix or len(path.parts) > 1:
        raise JnasError(f"There is no file or folder {path}: check the path, or give 'excerpt' or 'cifar10'.")
    return load_tfds_name(str(source), classes)


def _load_npz(path: Path, classes: int | None) -> Dataset:
    try:
        file = np.load(path, allow_pickle=False)
        is_npz = isinstance(file, np.lib.npyio.NpzFile)
        # Of other arrays only the name matters, for an error.
        arrays: dict[str, Any] = {name: file[name] if name in _ARRAYS else None for name in (file if is_npz else ())}
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise JnasError(
            f"{path} cannot be read as an .npz ({error}): save {_EXPECTED_ARRAYS} with numpy.savez, without objects."
        ) from error
    if not is_npz:
        raise JnasError(f"{path} is a single array, not an .npz: save {_EXPECTED_ARRAYS} with numpy.savez.")
    return _from_arrays(path.name, str(path), arrays, classes)


def _from_arrays(name: str, location: str, arrays: Mapping[str, ArrayLike], classes: int | None) -> Dataset:
    missing = [name for name in ("x_train", "y_train") if name not in arrays]
    if ("x_test" in arrays) != ("y_test" in arrays):
        missing.append("y_test" if "x_test" in arrays else "x_test")
    if missing:
        raise JnasError(
            f"{location} must hold {_EXPECTED_ARRAYS}, got no {' and no '.join(missing)} "
            f"(it holds {', '.join(arrays) or 'nothing'})."
        )
    no_images = np.zeros((0, *np.shape(arrays["x_train"])[1:]), np.uint8)
    x_test, y_test = arrays.get("x_test", no_images), arrays.get("y_test", np.zeros(0, np.int32))
    return Dataset(name, arrays["x_train"], arrays["y_train"], x_test, y_test, classes)
