"""Makes benchmarks/README.md, benchmarks/topics/*.md and the figures in README.md from results and prose.

    python benchmarks/render.py [--check | --stale]

With `--check` nothing is written, and a page that is out of date with the figures ends it with exit code 1. `--stale`
prints the figures that are older than the code that they speak of, with the commands that measure them again. In prose,
`{{NAME}}` on a line of its own stands for the table of that benchmark (see plan.py), or for its command where it has
not been measured.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys

from claims import PREDICTORS, RENDERERS, Claim, predictors_table, table
from plan import BENCHMARKS, Benchmark

FOLDER = pathlib.Path(__file__).parent
TOPICS = ("training", "recipe", "population", "predictor", "evolution", "search", "robustness")
HIGHLIGHTS = ("outcome", "outcome_60", "speedrun", "speedrun_94", "predictor_sophius")
"""Benchmarks whose first claim is in the README of jnas."""
CODE = {
    "training": ("jnas/nn", "jnas/train"),
    "recipe": ("jnas/nn", "jnas/train"),
    "population": ("jnas/nn", "jnas/train"),
    "predictor": ("jnas/predict", "jnas/space", "data"),
    "evolution": ("jnas/evolve",),
    "search": ("jnas/_search", "jnas/evolve", "jnas/nn", "jnas/predict", "jnas/space", "jnas/train"),
    "robustness": ("jnas",),
}
"""By topic: what its figures speak of."""
MOST_LINES = 80
"""Lines of a topic page, at most."""


def load(benchmark: Benchmark) -> dict | None:
    """Returns the result of a benchmark; None where there is none."""
    return json.loads(benchmark.path.read_text()) if benchmark.path.exists() else None


def source(result: dict) -> str:
    """Returns the line below a table: what made it."""
    versions = result["versions"]
    names = ", ".join(f"{name} {versions[name]}" for name in ("jax", "flax", "torch") if name in versions)
    device = f"{result['device']}, {result['cores']} cores"
    return f"`{result['command']}`, {device}, {names}; commit {result['commit']}, {result['date']}."


def predictors(results: dict[str, dict | None]) -> str:
    """Returns one table of the predictor on all tables, and what made each of its rows."""
    measured = {name: results[name] for name in PREDICTORS if results[name]}
    lines = [source(result) for result in measured.values()]
    missing = [one.command for one in BENCHMARKS if one.name in PREDICTORS and not results[one.name]]
    lines += [f"Not measured yet: `{command}`" for command in missing]
    text = "\n".join(lines)
    if not measured:
        return text
    return predictors_table({name: result["figures"] for name, result in measured.items()}) + "\n\n" + text


def topic(name: str, results: dict[str, dict | None]) -> str:
    """Returns a topic page: its prose, with the tables of its benchmarks."""

    def rendered(match: re.Match) -> str:
        if match[1] == "predictors":
            return predictors(results)
        benchmark = next(one for one in BENCHMARKS if one.name == match[1])
        result = results[benchmark.name]
        if result is None:
            return f"Not measured yet: `{benchmark.command}`"
        return f"{RENDERERS[benchmark.name][1](result['figures'])}\n\n{source(result)}"

    prose = (FOLDER / "prose" / f"{name}.md").read_text()
    return re.sub(r"^\{\{(\w+)\}\}$", rendered, prose, flags=re.M)


def overview(results: dict[str, dict | None]) -> str:
    """Returns the page of all claims."""
    rows, missing = [], []
    for benchmark in BENCHMARKS:
        result, claims = results[benchmark.name], RENDERERS[benchmark.name][0]
        if result is None:
            missing.append([benchmark.title, benchmark.device.upper(), f"`{benchmark.command}`"])
        elif claims:
            device = f"{result['device']}, {result['cores']} cores"
            for claim in claims(result["figures"]):
                text = f"[{claim.text}](topics/{benchmark.topic}.md)"
                rows.append([text, claim.value, claim.n, device, f"`{result['command']}`", result["commit"]])
    text = (FOLDER / "prose" / "README.md").read_text()
    text = text.replace("{{claims}}", table("claim|value ± spread|n|device|command|commit", rows))
    not_measured = table("benchmark|device|command", missing) if missing else "Nothing: all of them have been measured."
    return text.replace("{{missing}}", not_measured)


def highlights(results: dict[str, dict | None]) -> str:
    """Returns the README of jnas with its table of figures."""
    rows = []
    for name in HIGHLIGHTS:
        benchmark, result = next(one for one in BENCHMARKS if one.name == name), results[name]
        claims = (
            RENDERERS[name][0](result["figures"])[:1] if result else [Claim(benchmark.title, "not measured yet", "")]
        )
        device = f"{result['device']}, {result['cores']} cores" if result else benchmark.device.upper()
        rows += [[f"[{claim.text}](benchmarks/README.md)", claim.value, claim.n, device] for claim in claims]
    begin, end = "<!-- figures: generated by benchmarks/render.py -->\n", "<!-- end of figures -->"
    before, _, rest = (FOLDER.parent / "README.md").read_text().partition(begin)
    if not rest:
        return before
    return before + begin + table("claim|value ± spread|n|device", rows) + "\n" + end + rest.partition(end)[2]


def pages() -> dict[pathlib.Path, str]:
    """Returns the text of all pages."""
    results = {benchmark.name: load(benchmark) for benchmark in BENCHMARKS}
    texts = {FOLDER / "topics" / f"{name}.md": topic(name, results) for name in TOPICS}
    return {FOLDER / "README.md": overview(results), FOLDER.parent / "README.md": highlights(results)} | texts


def stale() -> list[str]:
    """Returns a line for each figure that is older than the code that it speaks of."""
    lines = []
    for benchmark in BENCHMARKS:
        if result := load(benchmark):
            since = ["git", "diff", "--quiet", result["commit"].removesuffix(" changed"), "--", *CODE[benchmark.topic]]
            if subprocess.run(since, cwd=FOLDER.parent, stderr=subprocess.DEVNULL).returncode:
                lines.append(f"{benchmark.name} ({result['commit']}, {result['date']}): {benchmark.command}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a page is out of date")
    parser.add_argument("--stale", action="store_true", help="print the figures that are older than their code")
    options = parser.parse_args()
    if options.stale:
        print(*stale(), sep="\n")
        return
    found = pages()
    too_long = [
        path.name for path, text in found.items() if path.parent.name == "topics" and text.count("\n") > MOST_LINES
    ]
    if too_long:
        sys.exit(f"{too_long[0]} has more than {MOST_LINES} lines: shorten its prose.")
    if options.check:
        old = [path.name for path, text in found.items() if not path.exists() or path.read_text() != text]
        if old:
            sys.exit(f"{', '.join(old)} out of date with benchmarks/results: run 'python benchmarks/render.py'.")
        return
    for path, text in found.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
