"""A search that is left alone: whether its memory stays flat.

    python benchmarks/soak.py --minutes M --json OUT.json [options of the search]

Runs `python -m jnas.search --max-minutes M` on the embedded images in a folder of its own, and reads the resident
memory of its process every half minute (Linux: /proc). `growth` is the mean of the last ten minutes over the mean of
minutes 10 to 20, less one: the first ten minutes fill caches.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import about, report

import jnas

EVERY = 30.0


def resident(process: int) -> float:
    """Resident memory in MiB."""
    (line,) = (text for text in Path(f"/proc/{process}/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def mean(samples: list[tuple[float, float]], first: float, last: float) -> float | None:
    """Of the samples between two minutes."""
    found = [memory for minute, memory in samples if first <= minute <= last]
    return statistics.fmean(found) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--json")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="jnas-soak-") as folder:
        command = [sys.executable, "-m", "jnas.search", "--max-minutes", str(options.minutes), *others]
        samples = []
        begun = time.monotonic()
        with (Path(folder) / "log.txt").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log) as search:
            while search.poll() is None:
                minute = (time.monotonic() - begun) / 60
                try:
                    samples.append((minute, resident(search.pid)))
                except (OSError, ValueError):
                    break  # it has just ended
                print(f"{minute:.1f} min, {samples[-1][1]:.0f} MiB", flush=True)
                time.sleep(EVERY)
        told = (Path(folder) / "log.txt").read_text().splitlines()
        store = jnas.Store(Path(folder) / "jnas.duckdb")
        statuses = store.sql("SELECT status, count(*) AS n FROM evaluations GROUP BY status").set_index("status").n
        generations = int(store.sql("SELECT count(*) AS n FROM generations").n[0])
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
    early, late = mean(samples, 10, 20), mean(samples, samples[-1][0] - 10, samples[-1][0])
    result = {
        "growth": late / early - 1 if early and late else None,
        "memory_early_mib": early,
        "memory_late_mib": late,
        "memory_highest_mib": max(memory for _, memory in samples),
        "minutes": (time.monotonic() - begun) / 60,
        "exit_code": search.returncode,
        "evaluations": statuses.to_dict(),
        "rounds": generations,
        "folder_mib": size,
        "about": about(),
        "samples": samples,
        "last_lines": told[-20:],
    }
    report(result, options.json, [name for name in result if name not in ("samples", "last_lines")])


if __name__ == "__main__":
    main()
