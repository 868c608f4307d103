"""The folder of an export: what may be replaced, and the digests that say so."""

import json
from pathlib import Path
from typing import Any

from jnas._runtime.checkpoint import file_digests
from jnas.errors import JnasError
from jnas.export._facts import FACTS_FILE


def ensure_replaceable(folder: Path, hash: str) -> None:
    """Raises a JnasError unless a folder is new, empty, or an unchanged export of the same template."""
    if not folder.parent.is_dir():
        raise JnasError(f"{folder} is in a folder that does not exist: create that folder first.")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    facts = _read_facts(folder)
    if "hash" not in facts or facts.get("files") != exported_digests(folder):
        raise JnasError(
            f"{folder} exists and has more or other files than jnas exported: name another folder with --out; this one "
            "was not changed."
        )
    if facts["hash"] != hash:
        raise JnasError(
            f"{folder} has the export of another template ({facts['hash']}): name another folder with --out."
        )


def exported_digests(folder: Path) -> dict[str, str]:
    """Returns the digests of all files but the facts, and the bytecode of imported files."""
    digests = file_digests(folder).items()
    return {name: digest for name, digest in digests if name != FACTS_FILE and not name.startswith("__pycache__/")}


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
