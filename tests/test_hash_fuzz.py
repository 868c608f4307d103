"""Bad hashes by the thousand: each is refused in one sentence, or gives a template that is what the hash says."""

import random

import pytest

import jnas
from jnas.errors import JnasError

LETTERS = "0123456789abcdefABCDEF +-_.xXgz\n\t\0é٣"


def bad_hash(generator, good):
    """Random hex digits, random text, or a good hash with bits flipped, a letter changed, a piece cut or doubled."""
    text = generator.choice(good)
    match generator.choice(("digits", "text", "bits", "letter", "piece")):
        case "digits":
            size = 8 * generator.randrange(1, 14) if generator.random() < 0.8 else generator.randrange(80)
            return f"{generator.getrandbits(4 * size):0{size}x}" if size else ""
        case "text":
            return "".join(generator.choices(LETTERS, k=generator.randrange(60)))
        case "bits":
            number = int(text, 16)
            for _ in range(generator.randrange(1, 4)):
                number ^= 1 << generator.randrange(4 * len(text))
            return f"{number:0{len(text)}x}"
        case "letter":
            index = generator.randrange(len(text))
            return text[:index] + generator.choice(LETTERS) + text[index + 1 :]
        case "piece":
            start, end = sorted(generator.randrange(len(text)) // 8 * 8 for _ in range(2))
            return text[:start] + text[end:] if generator.random() < 0.5 else text[:end] + text[start:]


def is_consistent(template, text):
    cost = template.cost
    return (
        template.hash == text.lower()
        and len(template.shapes) == len(template.layers)
        and all(size > 0 for shape in template.shapes for size in shape)
        and template.shapes[-1] == (template.classes,)
        and min(cost.params, cost.macs, cost.flops) > 0
    )


@pytest.mark.parametrize("count", [2_000, pytest.param(200_000, marks=pytest.mark.exhaustive)])
def test_from_hash_bad_hashes_refused_or_consistent(count):
    generator, space = random.Random(count), jnas.Space()
    good = [space.random(seed=seed).hash for seed in range(50 if count < 10_000 else 500)]
    refused = 0
    for _ in range(count):
        text = bad_hash(generator, good)
        try:
            template = jnas.Template.from_hash(text)
        except JnasError as error:
            refused += 1
            assert "\n" not in str(error), text
        else:
            assert is_consistent(template, text), text
    assert 0 < refused < count
