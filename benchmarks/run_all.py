"""Runs all benchmarks of one device one after the other, and writes their figures to benchmarks/results/.

    python benchmarks/run_all.py --inputs FOLDER ... [--device cpu|gpu] [--only NAME ...] [--skip NAME ...] [--again]
        [--baseline CHECKOUT] [--list]

The folders hold the inputs that do not come with jnas (sophius_runs.csv, metaqnn_cifar10.csv, nas_bench_macro.csv and
cifar10.npz); a benchmark whose input is not there is left out. One whose file is of the present code is skipped, so a
run that was interrupted goes on. Afterwards `python benchmarks/render.py` makes the pages. Nothing else should run on
the machine meanwhile. With `--list` only the plan and its seconds are printed.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import time

from common import ROOT, commit, run
from plan import BENCHMARKS, FILES, RESULTS, Benchmark

import jnas


def is_current(benchmark: Benchmark, code: str) -> bool:
    """Returns whether the figures of a benchmark are of the present code."""
    return "+" not in code and _result(benchmark).get("commit") == code


def estimate(benchmark: Benchmark) -> float:
    """Returns the seconds that a benchmark took the last time, or is said to take."""
    return _result(benchmark).get("seconds") or benchmark.seconds


def find_inputs(folders: list[pathlib.Path]) -> dict[str, pathlib.Path]:
    """Returns the files of FILES that are in one of the folders, by name."""
    places = {name: [folder.resolve() / file for folder in folders] for name, file in FILES.items()}
    return {
        name: next(filter(pathlib.Path.exists, paths))
        for name, paths in places.items()
        if any(map(pathlib.Path.exists, paths))
    }


def execute(benchmark: Benchmark, inputs: dict[str, pathlib.Path], baseline: pathlib.Path | None) -> bool:
    """Runs a benchmark, and returns whether it succeeded; its file is replaced only then."""
    quoted = {name: shlex.quote(str(path)) for name, path in inputs.items()}
    words = shlex.split(benchmark.arguments.format(**quoted))
    if baseline and benchmark.has_baseline:
        words += ["--baseline", str(baseline.resolve())]
    if benchmark.picture:
        words += ["--picture", str(ROOT / "benchmarks" / benchmark.picture)]
    part = benchmark.path.with_suffix(".json.part")
    script = pathlib.Path(__file__).with_name(f"{benchmark.script}.py")
    done = subprocess.run([sys.executable, str(script), *words, "--json", str(part)], cwd=ROOT)
    if done.returncode or not part.exists():
        part.unlink(missing_ok=True)
        return False
    part.replace(benchmark.path)
    return True


def plan(options: argparse.Namespace, inputs: dict[str, pathlib.Path]) -> list[Benchmark]:
    """Returns the benchmarks to run, and prints why others are left out.

    Raises:
      JnasError: if a name is unknown.
    """
    names = {benchmark.name for benchmark in BENCHMARKS}
    if unknown := sorted({*options.only, *options.skip} - names):
        raise jnas.JnasError(f"There is no benchmark {unknown[0]}: give some of {', '.join(sorted(names))}.")
    chosen, code = [], commit()
    for benchmark in BENCHMARKS:
        if benchmark.name in options.skip or (options.only and benchmark.name not in options.only):
            continue
        if not options.only and benchmark.device != options.device:
            continue
        missing = [FILES[name] for name in FILES if f"{{{name}}}" in benchmark.arguments and name not in inputs]
        if missing:
            print(f"{benchmark.name}: left out, as {missing[0]} is in none of the folders")
        elif is_current(benchmark, code) and not options.again:
            print(f"{benchmark.name}: its figures are of the present code ({code})")
        else:
            chosen.append(benchmark)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=pathlib.Path, nargs="+", default=[pathlib.Path(".")])
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--skip", nargs="+", default=[])
    parser.add_argument("--again", action="store_true", help="also those whose figures are of the present code")
    parser.add_argument("--baseline", type=pathlib.Path, help="another checkout, for those that compare with one")
    parser.add_argument("--list", action="store_true", help="print the plan and stop")
    options = parser.parse_args()
    inputs = find_inputs(options.inputs)
    chosen = plan(options, inputs)
    for benchmark in chosen:
        print(f"{benchmark.name}: about {estimate(benchmark):.0f} s")
    print(f"together about {sum(map(estimate, chosen)) / 3600:.1f} hours", flush=True)
    if options.list:
        return
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for number, benchmark in enumerate(chosen):
        left = sum(map(estimate, chosen[number:])) / 3600
        print(f"\n== {benchmark.name} ({number + 1} of {len(chosen)}, about {left:.1f} hours to go)", flush=True)
        start = time.perf_counter()
        if not execute(benchmark, inputs, options.baseline):
            failed.append(benchmark.name)
        print(f"== {benchmark.name}: {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        raise jnas.JnasError(f"These benchmarks failed: {', '.join(failed)}. Their earlier figures are kept.")


def _result(benchmark: Benchmark) -> dict:
    try:
        return json.loads(benchmark.path.read_text())
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    run(main)
