"""How a search was made."""

import shlex
from typing import Any

import pandas as pd

from jnas.store import SearchRows


def describe_making(found: SearchRows, rows: pd.DataFrame) -> dict[str, Any]:
    """Returns what a search was made with: images, settings, recipes, versions, devices, and the command."""
    experiment = found.experiment
    config = experiment["config_json"]
    names = ("dataset_name", "dataset_fingerprint", "in_shape", "num_classes", "started_at", "git_commit", "seed")
    return {name: experiment[name] for name in names} | {
        "command": _command(config),
        "config": config,
        "recipe": found.recipe,
        "final_recipe": found.final_recipe,
        "versions": experiment["versions"],
        "devices": sorted({device for device in rows.device if isinstance(device, str) and device}),
        "finished_at": rows.finished_at.max() if len(rows) else None,
    }


def _command(config: dict[str, Any]) -> str:
    """The command with all settings that have a value, as the shell takes them."""
    words = ["jnas", "search"]
    for name, value in config.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, list):
            words += [f"--{flag}", *map(str, value)] if value else []
        elif value is not None:
            words += [f"--{flag}", str(value)]
    return shlex.join(words)
