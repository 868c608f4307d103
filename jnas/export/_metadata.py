"""The description of an export: `metadata.json` for programs, `README.md` for people."""

import dataclasses
from importlib.metadata import version
from typing import Any

from jnas._runtime.versions import versions
from jnas.export._codegen import PLATFORMS
from jnas.export._source import TrainedTemplate
from jnas.store import Evaluation

_ACCURACIES = ("test_acc_final", "val_acc_final", "val_acc_max", "train_acc_final")
_ACCURACY_NAMES = {
    "test_acc_final": "test",
    "val_acc_final": "validation",
    "train_acc_final": "training (the mean over the epoch's augmented batches)",
}


def export_metadata(source: TrainedTemplate, row: Evaluation, check: dict[str, Any] | None) -> dict[str, Any]:
    """Returns what was trained, how, on which images, and how accurate it is, in values that JSON can hold.

    `row` is the training that produced the exported weights, `check` the result of `verify` or None.
    """
    template, search = source.template, source.experiment
    return {
        "hash": template.hash,
        "in_shape": template.in_shape,
        "classes": template.classes,
        "params": template.cost.params,
        "macs": template.cost.macs,
        "experiment_id": search.experiment_id,
        "recipe": dataclasses.asdict(source.recipe),
        "seed": row.key.seed,
        "data": {
            "name": search.dataset_name,
            "fingerprint": row.key.dataset_fingerprint,
            "split_seed": row.key.split_seed,
        },
        "device": row.device,
        "retrained": source.weights is None,
        "accuracies": {name: getattr(row, name) for name in _ACCURACIES},
        "check": check,
        "versions": versions() | {"orbax-checkpoint": version("orbax-checkpoint")},
    }


_README = """# An image classifier, found by jnas

{in_shape[1]} by {in_shape[2]} pixels, {in_shape[0]} channels; {classes} classes; {params:,} parameters; {macs:,} \
multiply-accumulates per image.

| file | what it is |
|---|---|
| `weights/` | the trained weights, an Orbax checkpoint |
| `model.py` | the network as Flax code; it reads the weights and needs jax, flax and orbax-checkpoint |
| `model.stablehlo` | the network with its weights as one program, for {platforms}; it needs jax and flatbuffers |
| `metadata.json` | the content of this page, the recipe and versions, for programs |

```python
import model

classifier = model.load()
model.predict(classifier, images)  # [N, {in_shape[1]}, {in_shape[2]}, {in_shape[0]}] uint8 to [N]: the classes
model.logits(classifier, images)  # [N, {classes}]
```

Images of another type or shape, such as floats from 0 to 1, are a ValueError that says what to do.

```python
from pathlib import Path

from jax import export

program = export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
program.call(images)  # uint8 images to logits
```

Accuracies after the last of {epochs} epochs, one seed: {accuracies}. {check_text}

Data: {data[name]} (fingerprint {data[fingerprint]}, split seed {data[split_seed]}). Trained on {device} by search
{experiment_id}, seed {seed}. Recipe: {recipe_text}. Versions: {versions_text}. Hash:

```
{hash}
```
"""


def readme(metadata: dict[str, Any]) -> str:
    """Returns the text of `README.md`."""
    accuracies = {name: metadata["accuracies"][key] for key, name in _ACCURACY_NAMES.items()}
    texts = {
        "platforms": " and ".join(PLATFORMS),
        "epochs": metadata["recipe"]["epochs"],
        "accuracies": ", ".join(f"{name} {value:.4f}" for name, value in accuracies.items() if value is not None),
        "check_text": format_check(metadata["check"]) if metadata["check"] else "The files were not checked.",
        "recipe_text": ", ".join(f"{name} {value}" for name, value in metadata["recipe"].items()),
        "versions_text": ", ".join(f"{name} {value}" for name, value in metadata["versions"].items()),
    }
    return _README.format(**metadata | texts)


def format_check(check: dict[str, Any]) -> str:
    """Returns the result of `verify` as a sentence."""
    files = ", ".join(f"{name} {check[name]}" for name in ("weights", "model.py", "model.stablehlo"))
    precision = "" if check["stored_in"] == "float32" else f", measured in {check['stored_in']} instead of float32"
    return (
        f"Correctly classified of {check['images']:,} {check['split']} images, after loading the files in a fresh "
        f"process: {files}; stored: {check['stored']}{precision}."
    )
