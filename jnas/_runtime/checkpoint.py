"""Trees of arrays on disk as Orbax checkpoints, each with metadata in a JSON file. Nothing is unpickled."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax

from jnas._runtime.logs import quiet_logging
from jnas.errors import JnasError

with quiet_logging():
    import orbax.checkpoint as ocp

METADATA_FILE = "metadata.json"
_DIGESTS_FILE = "digests.json"


def save(folder: str | Path, arrays: Any, metadata: dict[str, Any]) -> None:
    """Writes a pytree of arrays and its metadata, which JSON can hold, to a folder whose old content is replaced.

    The folder gets its name when it is complete, so a process that dies leaves no incomplete one.
    """
    folder = Path(folder).absolute()
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with quiet_logging(), ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(unfinished / "arrays", arrays)
    (unfinished / METADATA_FILE).write_text(json.dumps(metadata))
    (unfinished / _DIGESTS_FILE).write_text(json.dumps(file_digests(unfinished / "arrays")))
    remove(folder)
    unfinished.rename(folder)


def remove(folder: str | Path) -> None:
    """Removes a checkpoint if it exists; a process that dies meanwhile leaves no part of it under its name."""
    trash = Path(folder).with_name(Path(folder).name + ".gone")
    shutil.rmtree(trash, ignore_errors=True)  # of a process that died here
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, trash)
    shutil.rmtree(trash, ignore_errors=True)


def load_metadata(folder: str | Path) -> dict[str, Any]:
    """Returns the metadata of a checkpoint; an error if the folder is none."""
    try:
        return json.loads((Path(folder) / METADATA_FILE).read_text())
    except (OSError, ValueError) as error:
        raise JnasError(f"{folder} is not a checkpoint of jnas: name a folder that jnas wrote.") from error


def restore(folder: str | Path, target: Any) -> Any:
    """Returns the arrays of a checkpoint, on the default device; `target` is a tree of such shapes and types.

    Raises:
      JnasError: if the arrays are damaged, or have other shapes or types.
    """
    folder = Path(folder).absolute()
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    expected = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), target)
    digests = folder / _DIGESTS_FILE
    try:
        # Orbax reports damage in pages of text from its threads, and does not notice all of it.
        if digests.exists() and json.loads(digests.read_text()) != file_digests(folder / "arrays"):
            raise ValueError("the files are not those that were written")
        with quiet_logging(), ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder / "arrays", expected)
    except Exception as error:  # Orbax raises a bare `Exception` if what it reads is damaged
        raise JnasError(f"The arrays in {folder} are damaged or have another shape: save them again.") from error


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 digest of each file below a folder, by its path relative to the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
