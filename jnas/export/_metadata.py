"""What is told of an export: for programs (`metadata.json`) and for people (`README.md`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import orbax.checkpoint as ocp

from jnas._runtime.versions import versions
from jnas.export._select import Source
from jnas.store import Evaluation

_ACCURACIES = ("test_acc_final", "val_acc_final", "val_acc_max", "train_acc_final")


def facts(source: Source, row: Evaluation, checked: dict[str, Any] | None) -> dict[str, Any]:
    """What was trained, how, on which images, how good it is; JSON can hold it.

    Args:
      source: what is exported.
      row: the training that left the exported weights.
      checked: what `check` found; None where it was not asked or could not look.
    """
    template, search = source.template, source.search
    return {
        "hash": template.hash,
        "in_shape": template.in_shape,
        "classes": template.classes,
        "params": template.cost.params,
        "macs": template.cost.macs,
        "experiment": search.experiment_id,
        "recipe": dataclasses.asdict(source.recipe),
        "seed": row.key.seed,
        "data": {
            "name": search.dataset_name,
            "fingerprint": row.key.dataset_fingerprint,
            "split_seed": row.key.split_seed,
        },
        "trained_on": row.device,
        "trained_again": source.weights is None,
        "accuracies": {name: getattr(row, name) for name in _ACCURACIES},
        "checked": checked,
        "versions": versions() | {"orbax-checkpoint": ocp.__version__},
    }


_README = """# An image classifier, found by jnas

{in_shape[1]} by {in_shape[2]} pixels, {in_shape[0]} channels; {classes} classes; {params:,} parameters; {macs:,} \
multiply-accumulates an image.

| file | what it is |
|---|---|
| `weights/` | the trained weights, an Orbax checkpoint |
| `model.py` | the network as Flax code; it reads the weights and needs jax, flax and orbax-checkpoint |
| `model.stablehlo` | the network with its weights as one program, for {platforms}; it needs jax and flatbuffers |
| `metadata.json` | what is told here, and the recipe and versions, for programs |

```python
import model

classifier = model.load()
model.predict(classifier, images)  # [N, {in_shape[1]}, {in_shape[2]}, {in_shape[0]}] uint8 to [N]: the classes
model.logits(classifier, images)  # [N, {classes}]
```

```python
from pathlib import Path

from jax import export

program = export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
program.call(images)  # uint8 images to logits
```

Accuracies after the last of {epochs} epochs, one seed: {accuracies}. {checked}

Data: {data[name]} (fingerprint {data[fingerprint]}, split seed {data[split_seed]}). Trained on {trained_on} by search
{experiment}, seed {seed}. Recipe: {recipe_words}. Versions: {version_words}. Hash:

```
{hash}
```
"""


def readme(about: dict[str, Any], platforms: tuple[str, ...]) -> str:
    """The text that is put beside the files, from `facts`."""
    words = {
        "platforms": " and ".join(platforms),
        "epochs": about["recipe"]["epochs"],
        "accuracies": _accuracies(about["accuracies"]),
        "checked": checked_words(about["checked"]) if about["checked"] else "The files were not checked.",
        "recipe_words": ", ".join(f"{name} {value}" for name, value in about["recipe"].items()),
        "version_words": ", ".join(f"{name} {value}" for name, value in about["versions"].items()),
    }
    return _README.format(**about | words)


def checked_words(checked: dict[str, Any]) -> str:
    """What `check` found, as a sentence."""
    files = ", ".join(f"{name} {checked[name]}" for name in ("weights", "model.py", "model.stablehlo"))
    measured = "" if checked["stored_in"] == "float32" else f", measured in {checked['stored_in']} and not in float32"
    return (
        f"Loaded again in a fresh process, of {checked['images']:,} {checked['split']} images are answered right: "
        f"{files}; as stored: {checked['stored']}{measured}."
    )


def _accuracies(accuracies: dict[str, float | None]) -> str:
    names = {"test_acc_final": "test", "val_acc_final": "validation"}
    names["train_acc_final"] = "training (the mean over the epoch's augmented batches)"
    return ", ".join(f"{word} {accuracies[name]:.4f}" for name, word in names.items() if accuracies[name] is not None)
