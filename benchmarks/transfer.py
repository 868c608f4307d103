"""Whether the prior orders networks for images that it has not seen: digits of 8x8 pixels, by a short training.

    python benchmarks/transfer.py [--templates 60] [--epochs 4] [--json OUT.json]

Half of the templates are of each generator. They are trained on half of scikit-learn's 1,797 digits, without mirroring,
and measured on the others. The prior sees no accuracy of them.
"""

from __future__ import annotations

import argparse

import jax
import numpy as np
from common import report, run

import jnas
from jnas._search.screening import featurize, stack_genomes
from jnas.predict import Predictor, score
from jnas.space import Candidate, Space
from jnas.train import Recipe


def digits() -> jnas.Dataset:
    """Returns the digits, every second one for validation."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images, labels = (found.images[..., None] * 255 / 16).astype(np.uint8), found.target
    parts = {"train": slice(0, None, 2), "val": slice(1, None, 2)}
    arrays = {
        f"{axis}_{name}": values[part]
        for axis, values in (("x", images), ("y", labels))
        for name, part in parts.items()
    }
    return jnas.load_data(arrays)


def templates(data: jnas.Dataset, count: int) -> list[jnas.Template]:
    """Returns random templates of both generators."""
    found: dict[str, jnas.Template] = {}
    for number, style in enumerate(("sophius", "modern")):
        space = Space(data.in_shape, data.classes, style=style)
        for genome in np.asarray(space.sample_valid(jax.random.key(number), count))[: count - count // 2]:
            found.setdefault((template := space.template(genome)).hash, template)
    return list(found.values())[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--json")
    options = parser.parse_args()
    data = digits()
    recipe = Recipe.fast(epochs=options.epochs, flip=False, alternating_flip=False, test_flip=False, test_shift=0)
    rows = jnas.evaluate(templates(data, options.templates), data, recipe, progress=False)
    good = [row for row in rows if row.status == "ok"]
    space = Space(data.in_shape, data.classes)
    candidates = [Candidate.from_hash(row.key.hash, space) for row in good]
    mean, _ = Predictor().predict(*featurize(space, stack_genomes(candidates, space)))
    accuracies = np.array([row.val_acc_final for row in good])
    found = score(accuracies, mean)
    macs = score(accuracies, np.log([row.macs for row in good]))
    result = {"rows": len(good), "tau": found.kendall_tau, "spearman": found.spearman, "tau_of_macs": macs.kendall_tau}
    report(result | {"accuracies": accuracies.tolist(), "expected": mean.tolist()}, options, tuple(result))


if __name__ == "__main__":
    run(main)
