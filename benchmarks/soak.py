"""A search that is left alone: whether its memory stays flat.

    python benchmarks/soak.py --minutes M --json OUT.json [options of the search]

Runs `python -m jnas.search --max-minutes M` on the embedded images in a folder of its own, and reads the resident
memory of its process every two seconds (Linux: /proc). It goes up and down with the templates that are in training,
and these become larger as the search goes on. Hence the limit of 0.2 M MACs a template (see MACS), and `growth` is that
of a straight line through all samples after the first ten minutes, which fill caches: its rise over its beginning.
`windows` are the lowest, the median and the highest of each ten minutes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import about, report, run_program

import jnas

EVERY = 2.0
MACS = 200_000
"""So small that what stays would show beside what templates take."""
WINDOW = 10.0
"""Minutes."""


def resident(process: int) -> float:
    """Resident memory in MiB."""
    (line,) = (text for text in Path(f"/proc/{process}/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def growth(samples: list[tuple[float, float]]) -> float | None:
    """The rise of the line of least squares over its beginning, of samples of minutes and memory."""
    if len(samples) < 2:
        return None
    minutes, memory = zip(*samples, strict=True)
    slope, intercept = statistics.linear_regression(minutes, memory)
    return slope * (minutes[-1] - minutes[0]) / (intercept + slope * minutes[0])


def windows(samples: list[tuple[float, float]]) -> list[dict[str, float]]:
    """What happened in each ten minutes."""
    found = []
    for _, window in itertools.groupby(samples, lambda sample: sample[0] // WINDOW):
        first, *_ = kept = list(window)
        memory = [value for _, value in kept]
        sizes = {"lowest_mib": min(memory), "median_mib": statistics.median(memory), "highest_mib": max(memory)}
        found.append({"minute": round(first[0])} | sizes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--json")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="jnas-soak-") as folder:
        command = [sys.executable, "-m", "jnas.search", "--max-minutes", str(options.minutes)]
        command += ["--max-macs", str(MACS), *others]
        samples = []
        begun = time.monotonic()
        with (Path(folder) / "log.txt").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log) as search:
            while search.poll() is None:
                minute = (time.monotonic() - begun) / 60
                try:
                    samples.append((minute, resident(search.pid)))
                except (OSError, ValueError):
                    break  # it has just ended
                if len(samples) % 15 == 0:
                    print(f"{minute:.1f} min, {samples[-1][1]:.0f} MiB", flush=True)
                time.sleep(EVERY)
        told = (Path(folder) / "log.txt").read_text().splitlines()
        store = jnas.Store(Path(folder) / "jnas.duckdb")
        statuses = store.sql("SELECT status, count(*) AS n FROM evaluations GROUP BY status").set_index("status").n
        generations = int(store.sql("SELECT count(*) AS n FROM generations").n[0])
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
    result = {
        "growth": growth([sample for sample in samples if sample[0] >= WINDOW]),
        "windows": windows(samples),
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
    run_program(main)
