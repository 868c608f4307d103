"""What the benchmarks share: templates of a table, splits, and JSON files that say what made them."""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

import jax
import numpy as np

import jnas

ROOT = pathlib.Path(__file__).resolve().parent.parent
HASHES = ROOT / "tests" / "sophius_runs.csv"
CODE = (
    "jnas",
    "benchmarks/*.py",
    *(f":(exclude)benchmarks/{name}" for name in ("tests", "render.py", "claims.py", "run_all.py", "plan.py")),
)
"""What makes a figure, as paths for git: a result is as new as the last commit that changed one of these."""
PACKAGES = ("jax", "jaxlib", "flax", "numpy", "torch", "scikit-learn")
_NO_ARGUMENTS = ("json", "picture", "baseline")
_START = time.perf_counter()


def read_templates(path: str | pathlib.Path, limit: int) -> list[jnas.Template]:
    """Returns the first `limit` different templates of a table with a column `hash` (3x32x32 images, 10 classes).

    Raises:
      JnasError: if there is no such table.
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


def splits(count: int, train: int, seeds: int, first_seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns random rows of a table to train on, and all others to test on, for each seed.

    Raises:
      JnasError: if there are no such splits.
    """
    if not 0 <= train <= count - 2:
        raise jnas.JnasError(f"--train {train} of {count} rows leaves none to test on: give fewer.")
    if seeds < 1:
        raise jnas.JnasError(f"--seeds must be >= 1, got {seeds}.")
    orders = [np.random.default_rng(seed).permutation(count) for seed in range(first_seed, first_seed + seeds)]
    return [(order[:train], order[train:]) for order in orders]


def geometric_mean(values: Sequence[float]) -> float:
    """Returns the geometric mean."""
    return float(np.exp(np.log(values).mean()))


def run(main: Callable[[], None]) -> None:
    """Runs a program whose bad input, or a file that cannot be written, ends in one sentence and exit code 2."""
    try:
        main()
    except (jnas.JnasError, OSError) as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def report(figures: dict, options: argparse.Namespace, brief: Sequence[str] = ()) -> None:
    """Prints the `brief` figures; with `options.json`, writes all of them there with their provenance."""
    if brief:
        print(json.dumps({key: figures[key] for key in brief if key in figures}, indent=1), flush=True)
    if options.json:
        result = provenance(options) | {"figures": figures}
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1, default=str) + "\n")


def provenance(options: argparse.Namespace) -> dict:
    """Returns what made a result: benchmark, command, arguments, commit, date, device, cores, versions, seconds."""
    arguments = {name: _shortened(value) for name, value in vars(options).items() if name not in _NO_ARGUMENTS}
    return {
        "benchmark": pathlib.Path(sys.argv[0]).stem,
        "command": command(sys.argv),
        "arguments": arguments,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "device": device(),
        "cores": cores(),
        "versions": versions(),
        "seconds": round(time.perf_counter() - _START, 1),
    }


def command(argv: Sequence[str]) -> str:
    """Returns the command line that repeats a run, without the paths of this machine and of what it writes."""
    words = list(argv[1:])
    for option in ("--json", "--picture"):
        if option in words:
            place = words.index(option)
            del words[place : place + 2]
    if "--baseline" in words:
        words[words.index("--baseline") + 1] = "CHECKOUT"
    return shlex.join(["python", f"benchmarks/{pathlib.Path(argv[0]).name}", *map(_shortened, words)])


def commit(root: pathlib.Path = ROOT) -> str:
    """Returns the last commit that changed the code, "+changes" behind it where files differ; "unknown" without git."""
    try:
        last = _git(root, "log", "-1", "--format=%h", "--", *CODE)
        changes = _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return last + "+changes" * bool(changes) if last else "unknown"


def device() -> str:
    """Returns the name of the device that JAX computes on."""
    name = jax.devices()[0].device_kind
    if name != "cpu":
        return name
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git(root: pathlib.Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def _shortened(value: object) -> object:
    """An absolute path by its name; everything else as it is."""
    if isinstance(value, str | pathlib.Path) and pathlib.Path(value).is_absolute():
        return pathlib.Path(value).name
    return value
