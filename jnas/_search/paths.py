"""Where a search keeps what is no table: weights, predictors, the state of the evolution."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jnas._runtime import checkpoint
from jnas.errors import JnasError


def checkpoints(store: Path, experiment: str) -> Path:
    """The folder of a search, by its store's file."""
    path = store.absolute()
    return path.with_name(path.name.removesuffix(".duckdb") + ".checkpoints") / experiment


def winner(checkpoints: Path, recipe: str, hash: str) -> Path:
    """The weights of a template that won, after its longer training under a recipe (its id)."""
    return checkpoints / f"winner-{recipe}-{hash[:16]}"


def finalist(checkpoints: Path, recipe: str, hash: str, seed: int) -> Path:
    """The weights of one training of a template that might win."""
    # Not the beginning of the hash, which those that might win often share; all of it may be too long for a name.
    return checkpoints / f"finalist-{recipe}-{hashlib.sha256(hash.encode()).hexdigest()[:16]}-{seed}"


def holds(winner: Path, hash: str) -> bool:
    """Whether the weights of a template are in a folder, whose name tells only the beginning of a hash."""
    try:
        return winner.exists() and checkpoint.load_facts(winner).get("hash") == hash
    except JnasError:
        return True  # damaged, which is told when they are read
