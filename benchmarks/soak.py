"""Resident memory of a search that is left alone for two hours: whether it stays flat.

    python benchmarks/soak.py --minutes 120 --json OUT.json [options of the search]

Runs `python -m jnas.search --minutes M` on the embedded images in a folder of its own, and reads the resident
memory of its process and of all its descendants every two seconds (Linux: /proc). Memory depends on the templates in
training, so these have at most 0.2 M MACs (see MACS). `windows` has the median of each ten minutes: of the process
(`driver_mib`), of its workers together (`workers_mib`), and of both. The first window is warm-up. `growth` is the last
full window's median over the first after the warm-up, less 1; it passes if that is at most 0.02 for the process and for
all together.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report, run

import jnas

EVERY = 2.0
"""Seconds between two samples."""
LIMIT = 0.02
"""Growth that passes."""
MACS = 200_000
"""So small that what stays would show beside what templates take."""
WINDOW = 10.0
"""Minutes."""


def resident(root: int) -> tuple[float, float]:
    """Returns the resident memory in MiB of a process, and of all its descendants together.

    Raises:
      OSError: if the process has ended.
    """
    driver = _resident_pages(root)
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                # The name of the program stands in parentheses and may hold anything.
                parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
    descendants: set[int] = set()
    while True:
        more = {pid for pid, parent in parents.items() if parent == root or parent in descendants} - descendants
        if not more:
            break
        descendants |= more
    workers = 0
    for pid in descendants:
        try:
            workers += _resident_pages(pid)
        except OSError:
            continue
    pages = os.sysconf("SC_PAGE_SIZE") / 2**20
    return driver * pages, workers * pages


def _resident_pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def windows(samples: list[tuple[float, float, float]], length: float = WINDOW) -> list[dict[str, float]]:
    """Returns medians of samples of minute, driver and workers, for each window of so many minutes."""
    found = []
    for number, window in itertools.groupby(samples, lambda sample: int(sample[0] // length)):
        _, driver, workers = zip(*window, strict=True)
        found.append(
            {
                "minute": number * length,
                "driver_mib": statistics.median(driver),
                "workers_mib": statistics.median(workers),
                "together_mib": statistics.median(map(sum, zip(driver, workers, strict=True))),
            }
        )
    return found


def growth(medians: list[dict[str, float]]) -> dict[str, float]:
    """Returns how much the last full window is above the first after the warm-up, for each kind of process."""
    full = medians[1:-1]  # the last window is cut off
    if len(full) < 2:
        return {}
    names = [name for name in full[0] if name.endswith("_mib") and full[0][name]]
    return {name.removesuffix("_mib"): full[-1][name] / full[0][name] - 1 for name in names}


def watch(command: list[str], folder: Path) -> tuple[list[tuple[float, float, float]], int]:
    """Returns samples of a program's memory until it ends, and its exit code."""
    samples = []
    start = time.monotonic()
    with (folder / "log.txt").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log) as process:
        while process.poll() is None:
            minute = (time.monotonic() - start) / 60
            try:
                samples.append((minute, *resident(process.pid)))
            except OSError:
                break  # it has just ended
            if len(samples) % 15 == 0:
                print(f"{minute:.1f} min, {samples[-1][1]:.0f} + {samples[-1][2]:.0f} MiB", flush=True)
            time.sleep(EVERY)
    return samples, process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--json")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="jnas-soak-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "jnas.search", "--minutes", str(options.minutes)]
        samples, exit_code = watch([*command, "--max-macs", str(MACS), *others], folder)
        last_lines = (folder / "log.txt").read_text().splitlines()[-20:]
        if exit_code:
            raise jnas.JnasError(f"The search ended with {exit_code}: {' / '.join(last_lines[-3:])}")
        store = jnas.Store(folder / "jnas.duckdb")
        statuses = store.sql("SELECT status, count(*) AS n FROM evaluations GROUP BY status").set_index("status").n
        rounds = int(store.sql("SELECT count(*) AS n FROM generations").n[0])
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    medians = windows(samples)
    grown = growth(medians)
    figures = {
        "growth": grown,
        "passes": max(grown["driver"], grown["together"]) <= LIMIT if grown else None,
        "windows": medians,
        "minutes": samples[-1][0] if samples else 0.0,
        "evaluations": statuses.to_dict(),
        "rounds": rounds,
        "folder_mib": size,
        "last_lines": last_lines,
    }
    report(figures, options, ("growth", "passes", "windows", "minutes", "evaluations", "rounds"))


if __name__ == "__main__":
    run(main)
