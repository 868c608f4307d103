"""Where a search keeps what is no table: weights, predictors, the state of the evolution."""

from __future__ import annotations

from pathlib import Path


def checkpoints(store: Path, experiment: str) -> Path:
    """The folder of a search, by its store's file."""
    path = store.absolute()
    return path.with_name(path.name.removesuffix(".duckdb") + ".checkpoints") / experiment


def winner(checkpoints: Path, recipe: str, hash: str) -> Path:
    """The weights of a template that won, after its longer training under a recipe (its id)."""
    return checkpoints / f"winner-{recipe}-{hash[:16]}"
