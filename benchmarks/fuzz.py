"""Bad hashes by the million: none crashes, hangs, or builds a template that does not hold together.

    python benchmarks/fuzz.py --count N --seed S --json OUT.json

Hashes are random hex digits, random text, or those of random templates with bits flipped, letters changed, pieces cut
out or put twice. Each is refused by a `JnasError`, or gives a template that has this hash, whose shapes follow from one
another, and that can be counted. `slowest_ms` is the longest that one took.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from common import about, report, run_program

import jnas
from jnas.errors import JnasError

LETTERS = "0123456789abcdefABCDEF +-_.xXgz\n\t\0é٣"


def bad(generator: random.Random, good: list[str]) -> tuple[str, str]:
    """The kind of a bad hash, and the hash."""
    kind = generator.choice(("digits", "text", "bits", "letters", "pieces"))
    text = generator.choice(good)
    match kind:
        case "digits":
            size = 8 * generator.randrange(1, 14) if generator.random() < 0.8 else generator.randrange(80)
            text = f"{generator.getrandbits(4 * size):0{size}x}" if size else ""
        case "text":
            text = "".join(generator.choices(LETTERS, k=generator.randrange(60)))
        case "bits":
            number = int(text, 16)
            for _ in range(generator.randrange(1, 4)):
                number ^= 1 << generator.randrange(4 * len(text))
            text = f"{number:0{len(text)}x}"
        case "letters":
            place = generator.randrange(len(text))
            text = text[:place] + generator.choice(LETTERS) + text[place + 1 :]
        case "pieces":
            start, end = sorted(generator.randrange(len(text)) // 8 * 8 for _ in range(2))
            text = text[:start] + text[end:] if generator.random() < 0.5 else text[:end] + text[start:]
    return kind, text


def holds(template: jnas.Template, text: str) -> bool:
    """Whether a template is what its hash says, and can be used."""
    cost = template.cost
    return (
        template.hash == text.lower()
        and len(template.shapes) == len(template.layers)
        and all(size > 0 for shape in template.shapes for size in shape)
        and template.shapes[-1] == (template.classes,)
        and min(cost.params, cost.macs, cost.flops) > 0
    )


def fuzz(count: int, seed: int) -> dict:
    """What became of so many bad hashes, by kind."""
    generator, space = random.Random(seed), jnas.Space()
    good = [space.random(seed=i).hash for i in range(500)]
    outcomes, slowest = Counter(), 0.0
    for _ in range(count):
        kind, text = bad(generator, good)
        start = time.perf_counter()
        try:
            template = jnas.Template.from_hash(text)
        except JnasError as error:
            outcome = "refused" if "\n" not in str(error) else "refused in several lines"
        else:
            outcome = "valid" if holds(template, text) else "INVALID"
        slowest = max(slowest, time.perf_counter() - start)
        outcomes[f"{kind}: {outcome}"] += 1
    return {"outcomes": dict(sorted(outcomes.items())), "slowest_ms": slowest * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    start = time.perf_counter()
    result = fuzz(options.count, options.seed)
    result |= {"count": options.count, "seconds": time.perf_counter() - start, "about": about()}
    report(result, options.json, tuple(result))


if __name__ == "__main__":
    run_program(main)
