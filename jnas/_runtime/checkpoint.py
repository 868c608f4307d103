"""Trees of arrays on disk, by Orbax, with a few facts in JSON beside them. Nothing is ever unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jnas.errors import JnasError

FACTS = "facts.json"
_DIGESTS = "digests.json"


def save(folder: str | Path, arrays: Any, facts: dict[str, Any]) -> None:
    """Writes a tree of arrays and a dictionary that JSON can hold; what `folder` held is replaced.

    The folder appears under its name only when it is complete.
    """
    folder = Path(folder).absolute()
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(unfinished / "arrays", arrays)
    (unfinished / FACTS).write_text(json.dumps(facts))
    (unfinished / _DIGESTS).write_text(json.dumps(digests(unfinished / "arrays")))
    remove(folder)
    unfinished.rename(folder)


def remove(folder: str | Path) -> None:
    """Removes what `save` wrote, if it is there; whenever the process may die, none is left in parts under its name."""
    gone = Path(folder).with_name(Path(folder).name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)  # of one that died here
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def load_facts(folder: str | Path) -> dict[str, Any]:
    """The dictionary that `save` wrote.

    Raises:
      JnasError: `folder` is not what `save` wrote.
    """
    try:
        return json.loads((Path(folder) / FACTS).read_text())
    except (OSError, ValueError) as error:
        raise JnasError(f"{folder} is no checkpoint of jnas: name a folder that it wrote.") from error


def load_arrays(folder: str | Path, like: Any) -> Any:
    """The arrays that `save` wrote, on the default device.

    Args:
      folder: where.
      like: a tree with the shapes and types of what is expected there.

    Raises:
      JnasError: the arrays are not there, or are others.
    """
    folder = Path(folder).absolute()
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    expected = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    try:
        # Orbax would tell of damage too, but in pages from its threads; and it does not see all of it.
        if (folder / _DIGESTS).exists() and json.loads((folder / _DIGESTS).read_text()) != digests(folder / "arrays"):
            raise ValueError("the files are not those that were written")
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder / "arrays", expected)
    except Exception as error:  # Orbax raises a bare one where what it reads is damaged
        raise JnasError(f"The arrays in {folder} are damaged or of another shape: save them again.") from error


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, by its path from there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
