"""Arrays in an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from jnas.data._dataset import Dataset
from jnas.errors import JnasError

_EXPECTED_ARRAYS = "x_train, y_train and, if there are test images, x_test and y_test"


def load_npz(path: Path, classes: int | None) -> Dataset:
    """Returns the arrays of an .npz file as a data set.

    Raises:
      JnasError: if the file cannot be read, or lacks an array.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise JnasError(f"{path} is a single array, not an .npz: save {_EXPECTED_ARRAYS} with numpy.savez.")
        with file:
            missing = [name for name in ("x_train", "y_train") if name not in file.files]
            if ("x_test" in file.files) != ("y_test" in file.files):
                missing.append("y_test" if "x_test" in file.files else "x_test")
            if missing:
                names = ", ".join(file.files) or "nothing"
                raise JnasError(
                    f"{path} must hold {_EXPECTED_ARRAYS}, got no {' and no '.join(missing)} (it holds {names})."
                )
            arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test") if name in file.files}
    except JnasError:
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise JnasError(
            f"{path} cannot be read as an .npz ({error}): save {_EXPECTED_ARRAYS} with numpy.savez, without objects."
        ) from error
    return with_optional_test(path.name, arrays, classes)


def with_optional_test(name: str, arrays: Mapping[str, ArrayLike], classes: int | None) -> Dataset:
    """Returns a data set of the four arrays; `x_test` and `y_test` may be missing."""
    x_test = arrays.get("x_test", np.zeros((0, *np.shape(arrays["x_train"])[1:]), np.uint8))
    y_test = arrays.get("y_test", np.zeros(0, np.int32))
    return Dataset(name, arrays["x_train"], arrays["y_train"], x_test, y_test, classes)
