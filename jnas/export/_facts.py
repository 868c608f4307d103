"""What is known of an export, as values that JSON can hold: `facts.json`, from which the model card is written."""

import dataclasses
from pathlib import Path
from typing import Any

from jnas._runtime.versions import versions
from jnas.export._trained import TrainedModel
from jnas.report import wilson_interval
from jnas.space import board_needs

FACTS_FILE = "facts.json"
ACCURACIES = ("test_acc_final", "val_acc_final", "val_acc_max", "train_acc_final")
_PACKAGES = ("orbax-checkpoint", "onnx", "onnxruntime", "safetensors")


def export_facts(trained: TrainedModel, check: dict[str, Any] | None, latencies: list[dict[str, Any]]) -> dict:
    """Returns what was trained, how, on which images, and how accurate and fast it is.

    `check` is the result of `verify` or None; `latencies` are those of `measure_latencies`.
    """
    template, search, row = trained.source.template, trained.source.experiment, trained.row
    return {
        "hash": template.hash,
        "in_shape": template.in_shape,
        "classes": template.classes,
        "class_names": trained.class_names,
        "params": template.cost.params,
        "macs": template.cost.macs,
        "board": board_needs(template),
        "experiment_id": search.experiment_id,
        "recipe": dataclasses.asdict(trained.source.recipe),
        "seed": row.key.seed,
        "data": {
            "name": search.dataset_name,
            "fingerprint": row.key.dataset_fingerprint,
            "split_seed": row.key.split_seed,
            "images": _count_images(trained),
        },
        "device": row.device,
        "retrained": trained.source.weights is None,
        "accuracies": {name: getattr(row, name) for name in ACCURACIES},
        "intervals": _intervals(trained),
        "forms": trained.options.forms,
        "input": trained.options.input,
        "views": trained.views._asdict(),
        "check": check,
        "latencies": latencies,
        "versions": versions() | {name: one for name, one in versions(_PACKAGES).items() if one != "unknown"},
    }


def file_sizes(folder: Path) -> dict[str, int]:
    """Returns the bytes of each file in a folder, and of all files in each of its folders."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        sizes[path.name] = sum(file.stat().st_size for file in files)
    return sizes


def _count_images(trained: TrainedModel) -> dict[str, int] | None:
    """Returns the number of images of each split, or None if they are not available."""
    if trained.data is None:
        return None
    split = trained.split
    return {"training": len(split.y_train), "validation": len(split.y_val), "test": len(trained.data.y_test)}


def _intervals(trained: TrainedModel) -> dict[str, tuple[float, float]]:
    """Returns Wilson's 95 % intervals of the accuracies on images that were not trained on, where these are counted.

    They are of the sample of images alone, not of the seed (Wilson 1927, doi:10.1080/01621459.1927.10502953).
    """
    counts, found = _count_images(trained) or {}, {}
    for name, split in (("test_acc_final", "test"), ("val_acc_final", "validation")):
        accuracy, count = getattr(trained.row, name), counts.get(split)
        if accuracy is not None and count:
            low, high = wilson_interval(accuracy, count)
            found[name] = (round(low, 4), round(high, 4))
    return found
