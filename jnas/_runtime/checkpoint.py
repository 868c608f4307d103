"""Trees of arrays on disk as Orbax checkpoints, each with metadata in a JSON file. Nothing is unpickled."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jnas._runtime.logs import quiet_logging
from jnas._validation import first_line
from jnas.errors import JnasError

with quiet_logging():
    import orbax.checkpoint as ocp

METADATA_FILE = "metadata.json"
_DIGESTS_FILE = "digests.json"
_TRIAL_BYTES = 1 << 16


def save(folder: str | Path, arrays: Any, metadata: dict[str, Any]) -> None:
    """Writes a pytree of arrays and its metadata, which JSON can hold, to a folder whose old content is replaced.

    The folder gets its name when it is complete, so a process that dies leaves no incomplete one, and of processes that
    write under one name at once the last wins. Raises a `JnasError` if it cannot be written, or has files of others.
    """
    folder = Path(folder).absolute()
    jax.block_until_ready(arrays)
    with _sentence(folder):
        if folder.exists() and not (folder / METADATA_FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise JnasError(f"{folder} must be a new folder or a checkpoint, got files of others; name another folder.")
        with _unfinished(folder.parent) as unfinished:
            # Not Orbax' own default, which writes in threads: if it fails, one waits for minutes for a signal.
            with quiet_logging(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                checkpointer.save(unfinished / "arrays", arrays)
            (unfinished / METADATA_FILE).write_text(json.dumps(metadata))
            (unfinished / _DIGESTS_FILE).write_text(json.dumps(file_digests(unfinished / "arrays")))
            move(unfinished, folder)


def try_writing(folder: Path) -> None:
    """Makes a folder for checkpoints, and writes a little to it; raises a `JnasError` if that fails."""
    with _sentence(folder), _unfinished(folder) as trial:
        (trial / "trial").write_bytes(bytes(_TRIAL_BYTES))


def move(source: Path, target: Path) -> None:
    """Gives a checkpoint another name; what had that name is removed, also what another process puts there now."""
    with _sentence(target):
        while True:
            _remove(target)
            try:
                source.rename(target)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise


def remove(folder: Path) -> None:
    """Removes a checkpoint if it exists and can be removed; one whose removal is cut short is not under its name."""
    with contextlib.suppress(OSError):
        _remove(folder)


def _remove(folder: Path) -> None:
    trash = _unfinished_path(folder.parent)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


@contextlib.contextmanager
def _unfinished(parent: Path) -> Iterator[Path]:
    """A folder of this process alone, for what gets its name later; those of processes that have died are removed."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = _unfinished_path(parent)
    machine = folder.name.rsplit("-", 2)[0]
    for path in parent.glob(f"{machine}-*-*"):
        prefix, pid, _ = path.name.rsplit("-", 2)
        if prefix == machine and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unfinished_path(parent: Path) -> Path:
    return parent / f".unfinished-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _is_running(pid: int) -> bool:
    if os.name != "posix":  # there, the call below would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def _sentence(folder: Path) -> Iterator[None]:
    """Raises errors of the system and of Orbax as one sentence; the pages that Orbax logs of them are dropped."""
    logger = logging.getLogger("absl")

    def drop(_: logging.LogRecord) -> bool:  # a filter of its own each time: threads may be here at once
        return False

    logger.addFilter(drop)
    try:
        yield
    except JnasError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # the latter two from Orbax' writer, with the system's code
        code = re.search(r"os_error_code='(\d+)'", str(error))
        cause = os.strerror(int(code[1])) if code else first_line(error)
        raise JnasError(
            f"The checkpoint {folder} cannot be written ({cause}): make sure that its folder can be written to, and "
            "that the disk has room."
        ) from error
    finally:
        logger.removeFilter(drop)


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
        with quiet_logging(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            return checkpointer.restore(folder / "arrays", expected)
    except Exception as error:  # Orbax raises a bare `Exception` if what it reads is damaged
        raise JnasError(f"The arrays in {folder} are damaged or have another shape: save them again.") from error


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 digest of each file below a folder, by its path relative to the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
