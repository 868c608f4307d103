"""The folder that an export is: what may be replaced, and how it gets its name only when it is complete."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jnas._runtime.checkpoint import METADATA_FILE, file_digests, load_metadata
from jnas.errors import JnasError


def check_free(folder: Path, hash: str) -> None:
    """Raises a JnasError unless `folder` can be made, is empty, or is an untouched export of the template `hash`."""
    if not folder.parent.is_dir():
        raise JnasError(f"The folder {folder} would be in one that does not exist: make that first.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    about = _facts(folder)
    if about is None or about.get("files") != _written(folder):
        raise JnasError(
            f"{folder} exists and is not, or not only, what jnas exported: name another folder with --out; this one "
            "was left as it is."
        )
    if about["hash"] != hash:
        raise JnasError(
            f"{folder} holds the export of another template ({about['hash']}): name another folder with --out."
        )


def complete(draft: Path, facts: dict[str, Any]) -> None:
    """Writes the facts into a folder that has all the rest, with what tells whether that was touched since."""
    (draft / METADATA_FILE).write_text(json.dumps({**facts, "files": _written(draft)}, indent=2) + "\n")


def put(draft: Path, folder: Path) -> None:
    """Gives a complete export its name; what is there, and is free by `check_free`, goes."""
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)


def _facts(folder: Path) -> dict[str, Any] | None:
    try:
        about = load_metadata(folder)
    except JnasError:
        return None
    return about if isinstance(about, dict) and "hash" in about else None


def _written(folder: Path) -> dict[str, str]:
    """The digest of each file but the facts themselves, and what Python keeps of a `model.py` that was imported."""
    found = file_digests(folder).items()
    return {name: digest for name, digest in found if name != METADATA_FILE and not name.startswith("__pycache__/")}
