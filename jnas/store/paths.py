"""Where a search keeps its weights, predictors and populations: in folders beside its store."""

import hashlib
from pathlib import Path

from jnas._runtime import checkpoint
from jnas.errors import JnasError

STORE_NAME = "jnas.duckdb"
"""Of the results in the folder of a search."""
DEFAULT_FOLDER = "jnas-run"
DEFAULT_STORE = f"{DEFAULT_FOLDER}/{STORE_NAME}"


def checkpoint_dir(store: Path, experiment_id: str) -> Path:
    """Returns the folder of a search, given the store's file."""
    path = store.absolute()
    return path.with_name(path.name.removesuffix(".duckdb") + ".checkpoints") / experiment_id


def report_dir(store: Path) -> Path:
    """Returns the folder of the page of the searches in a store."""
    path = store.absolute()
    return path.with_name(path.name.removesuffix(".duckdb") + "-report")


def winner_dir(checkpoints: Path, recipe_id: str, hash: str) -> Path:
    """Returns the folder with the weights of the winner, trained under the final recipe."""
    return checkpoints / f"winner-{recipe_id}-{hash[:16]}"


def finalist_dir(checkpoints: Path, recipe_id: str, hash: str, seed: int) -> Path:
    """Returns the folder with the weights of one final training of a finalist."""
    # Finalists often share the beginning of the hash, and a whole hash may be too long for a file name.
    return checkpoints / f"finalist-{recipe_id}-{hashlib.sha256(hash.encode()).hexdigest()[:16]}-{seed}"


def predictor_dir(checkpoints: Path, generation: int) -> Path:
    """Returns the folder with the predictor that was fitted before a generation."""
    return checkpoints / f"predictor-{generation}"


def holds_weights_of(folder: Path, hash: str) -> bool:
    """Returns whether a folder has the weights of a template; its name has only the beginning of the hash."""
    try:
        return folder.exists() and checkpoint.load_metadata(folder).get("hash") == hash
    except JnasError:
        return True  # damaged, which is reported when the weights are read
