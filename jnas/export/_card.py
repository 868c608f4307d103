"""`README.md` of an export: a model card, whose head the Hugging Face Hub reads."""

import json
from typing import Any

from jnas.export._codegen import PLATFORMS
from jnas.export._forms import CHECKED_FILES

_ACCURACY_NAMES = {
    "test_acc_final": "test",
    "val_acc_final": "validation",
    "train_acc_final": "training (the mean over the epoch's augmented batches)",
}
_FILES = {
    "weights": "the trained weights, an Orbax checkpoint",
    "model.py": "the network as Flax code; it reads the weights and needs jax, flax and orbax-checkpoint",
    "model.stablehlo": "the network with its weights as one program, for {platforms}; it needs jax and flatbuffers",
    "model.onnx": "the network with its weights as an ONNX model; it takes {input}",
    "model_int8.onnx": "the same in eight-bit integers",
    "latency.py": "times ONNX files where they are to run; it needs numpy and onnxruntime",
    "model_torch.py": "the network as PyTorch code; it reads the weights and needs torch and safetensors",
    "model.safetensors": "the trained weights for PyTorch",
    "facts.json": "the content of this page, the recipe and versions, for programs",
}
_INPUTS = {
    "uint8": "uint8 `[N, {1}, {2}, {0}]`, which it normalises",
    "float32": "float32 `[N, {0}, {1}, {2}]`, the pixels of 0 to 255 divided by 127.5, minus 1",
}
_USE = {
    "flax": """import model

classifier = model.load()
model.predict(classifier, images)  # [N, {1}, {2}, {0}] uint8 to [N]: the classes
model.logits(classifier, images)  # [N, {classes}]""",
    "stablehlo": """from pathlib import Path

from jax import export

program = export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
program.call(images)  # uint8 images to logits""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
session.run(None, {{"images": images}})[0].argmax(-1)  # images: {input}""",
    "torch": """import model_torch

classifier = model_torch.load()
model_torch.predict(classifier, images)  # [N, {1}, {2}, {0}] uint8 to [N]: the classes""",
}
_CARD = """{head}
# An image classifier, found by jnas

{in_shape[1]} by {in_shape[2]} pixels, {in_shape[0]} channels; {classes} classes{names_text}; {params:,} parameters; \
{macs:,} multiply-accumulates per image.

| file | what it is | size |
|---|---|---|
{files_text}

{use_text}

## How good it is

Accuracies after the last of {recipe[epochs]} epochs, one seed, with Wilson's 95 % intervals of the sample of images: \
{accuracies_text}.{views_text}

{check_text}{latencies_text}

On a microcontroller board, in int8: {board[flash_bytes]:,} bytes of flash for the weights and {board[memory_bytes]:,} \
bytes of memory for activations, computed (input and output of the largest layer; without the code of a runtime).

## Limits

It tells only these {classes} classes apart, in images like those of training; of others it names one of them, too. \
Accuracies are of one training, with one seed, and its logits are not calibrated probabilities.

## How it was made

Data: {data[name]} (fingerprint {data[fingerprint]}, split seed {data[split_seed]}){counts_text}. The network was \
chosen by its accuracy on validation images. Trained on {device} by search {experiment_id}, seed {seed}. Recipe: \
{recipe_text}. Versions: {versions_text}. Hash:

```
{hash}
```
"""


def model_card(facts: dict[str, Any], sizes: dict[str, int]) -> str:
    """Returns the text of `README.md`, given the facts and the bytes of each file."""
    places = {"platforms": " and ".join(PLATFORMS), "input": _INPUTS[facts["input"]].format(*facts["in_shape"])}
    files = [
        f"| `{name}{'/' * (name == 'weights')}` | {text.format(**places)} | {_format_size(sizes.get(name))} |"
        for name, text in _FILES.items()
        if name in sizes or name == "facts.json"
    ]
    shape = facts["in_shape"]
    uses = [
        f"```python\n{code.format(*shape, classes=facts['classes'], **places)}\n```"
        for form, code in _USE.items()
        if form in facts["forms"]
    ]
    counts, names = facts["data"]["images"], facts["class_names"]
    texts = {
        "head": _head(facts),
        "names_text": f" ({', '.join(names)})" if names else "",
        "files_text": "\n".join(files),
        "use_text": "\n\n".join(uses),
        "accuracies_text": ", ".join(_format_accuracies(facts)),
        "views_text": _format_views(facts),
        "check_text": format_check(facts["check"], facts) if facts["check"] else "The files were not checked.",
        "latencies_text": _format_latencies(facts["latencies"]),
        "counts_text": f": {', '.join(f'{count:,} {name}' for name, count in counts.items())} images" if counts else "",
        "recipe_text": ", ".join(f"{name} {value}" for name, value in facts["recipe"].items()),
        "versions_text": ", ".join(f"{name} {value}" for name, value in facts["versions"].items()),
    }
    return _CARD.format(**facts | texts)


def _head(facts: dict[str, Any]) -> str:
    """Returns the card's head in JSON, which is YAML, too."""
    task, name = "image-classification", facts["data"]["name"]
    results = [
        {
            "task": {"type": task},
            "dataset": {"name": name, "type": name, "split": split},
            "metrics": [{"type": "accuracy", "value": round(value, 4)}],
        }
        for key, split in (("test_acc_final", "test"), ("val_acc_final", "validation"))
        if (value := facts["accuracies"][key]) is not None
    ]
    head = {
        "library_name": "jnas",
        "pipeline_tag": task,
        "tags": [task, "neural-architecture-search", "jnas", *facts["forms"]],
        "metrics": ["accuracy"],
        "model-index": [{"name": f"jnas-{facts['hash'][:16]}", "results": results}],
    }
    return f"---\n{json.dumps(head, indent=2)}\n---\n"


def _format_size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _format_accuracies(facts: dict[str, Any]) -> list[str]:
    found = []
    for key, name in _ACCURACY_NAMES.items():
        value, interval = facts["accuracies"][key], facts["intervals"].get(key)
        if value is not None:
            found.append(f"{name} {value:.4f}" + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""))
    return found


def _format_views(facts: dict[str, Any]) -> str:
    used = facts["views"]
    if not _has_views_of_recipe(facts):
        return " They are of mean logits over views of each image; the files classify each image once, as it is."
    parts = ["their mirror images"] * used["flip"] + [f"images moved by {used['shift']} px"] * (used["shift"] > 0)
    return f" They are, as in the files, of mean logits of images and of {' and '.join(parts)}." if parts else ""


def _has_views_of_recipe(facts: dict[str, Any]) -> bool:
    recipe = facts["recipe"]
    return facts["views"] == {"flip": recipe["test_flip"], "shift": recipe["test_shift"]}


def format_check(check: dict[str, Any], facts: dict[str, Any]) -> str:
    """Returns the result of `verify` in one or two sentences."""
    int8 = CHECKED_FILES["int8"]
    exact = [name for name in ("weights", *CHECKED_FILES.values()) if name in check and name != int8]
    files = ", ".join(f"{name} {check[name]}" for name in exact)
    precision = "" if check["stored_in"] == "float32" else f", measured in {check['stored_in']} instead of float32"
    views = "" if _has_views_of_recipe(facts) else ", by the mean over views"
    text = (
        f"Correctly classified of {check['images']:,} {check['split']} images, each file loaded in a fresh process: "
        f"{files}; stored: {check['stored']}{precision}{views}."
    )
    if "torch" in facts["forms"] and CHECKED_FILES["torch"] not in check:
        text += f" {CHECKED_FILES['torch']} was not checked, as PyTorch is not installed."
    if int8 in check:
        text += f" {int8}: {check[int8]} ({_compare(check[int8] - check['weights'], 'more', 'fewer')})"
        text += f"; its validation accuracy is {_compare(-check['int8_loss'], 'higher', 'lower')} than in float32."
    return text


def _compare(difference: float, more: str, less: str) -> str:
    size = abs(difference)
    return f"{size if isinstance(size, int) else f'{size:.4f}'} {less if difference < 0 else more}"


def format_speed(facts: dict[str, Any]) -> str:
    """Returns how long one image takes in the ONNX files, which are timed with one thread, and in JAX."""
    parts = [
        f"{row['median_ms']:.3g} ms in "
        + (
            "JAX"
            if row["engine"] == "jax"
            else f"{row['file']} ({_format_size(facts['sizes'][row['file']])}, one thread)"
        )
        for row in facts["latencies"]
        if row["batch_size"] == 1 and (row["engine"] == "jax" or row["threads"] == 1)
    ]
    return f"One image takes, on {facts['latencies'][0]['device']}: {', '.join(parts)}."


def _format_latencies(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        f"| {row['engine']}, {row['file']} | {row['threads'] or '-'} | {row['batch_size']} | {row['median_ms']:.3g} | "
        f"{row['p95_ms']:.3g} |"
        for row in rows
    ]
    head = ["", "", f"Milliseconds a batch on {rows[0]['device']}, when warm:", ""]
    return "\n".join([*head, "| by | threads | images | median | 95 % |", "|---|---|---|---|---|", *lines])
