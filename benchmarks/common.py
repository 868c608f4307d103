"""What the benchmarks share: templates from a table, and what they ran on."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import platform
import sys
from collections.abc import Callable

import jax
import numpy as np

import jnas
from jnas._runtime import malloc as memory

HASHES = pathlib.Path(__file__).parent.parent / "tests" / "sophius_runs.csv"


def read_templates(path: str | pathlib.Path, limit: int) -> list[jnas.Template]:
    """The first `limit` different templates of a table with a column `hash` (3x32x32 images, 10 classes).

    Raises:
      JnasError: there is no such table.
    """
    try:
        with open(path) as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise jnas.JnasError(f"{path} cannot be read as a table of comma-separated values: {error}.") from None
    if not rows or "hash" not in rows[0]:
        raise jnas.JnasError(f"{path} has no column hash: give a table of templates.")
    hashes = dict.fromkeys(row["hash"] for row in rows)
    return [jnas.Template.from_hash(hash) for hash in hashes][:limit]


def about() -> dict:
    """The device and the versions."""
    found = {
        "device": jax.devices()[0].device_kind,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jnas": jnas.__version__,
        "keep_memory": memory.wanted(),
    }
    try:
        import torch
    except ImportError:
        return found
    return found | {"torch": torch.__version__}


def splits(count: int, train: int, seeds: int, first_seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random rows of a table to train on, and all others to test on, for each seed.

    Raises:
      JnasError: there are no such splits.
    """
    if not 0 < train <= count - 2:
        raise jnas.JnasError(f"--train {train} of {count} rows leaves none to test on: give fewer.")
    if seeds < 1:
        raise jnas.JnasError(f"--seeds {seeds} is no number of splits: give 1 or more.")
    orders = [np.random.default_rng(seed).permutation(count) for seed in range(first_seed, first_seed + seeds)]
    return [(order[:train], order[train:]) for order in orders]


def geometric_mean(values: list[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.log(values).mean()))


def run_program(main: Callable[[], None]) -> None:
    """Runs a program whose bad input, or a file that cannot be written, ends in one sentence, not in a traceback."""
    try:
        main()
    except (jnas.JnasError, OSError) as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def report(result: dict, path: str | None, brief: tuple[str, ...]) -> None:
    """Prints the `brief` keys, and writes everything where a path is given."""
    print(json.dumps({key: result[key] for key in brief}, indent=1))
    if path:
        pathlib.Path(path).write_text(json.dumps(result, indent=1))
