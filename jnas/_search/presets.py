"""Settings of searches by name."""

from __future__ import annotations

from typing import Any, Literal

PresetName = Literal["record"]

PRESETS: dict[PresetName, dict[str, Any]] = {
    "record": {
        "data": "cifar10",
        "space": "modern",
        "conv_num": 10,
        "lin_num": 2,
        "max_macs": 150_000_000,
        "objectives": ("accuracy", "params"),
        "num_random": 48,
        "num_screened": 48,
        "refit_every": 24,
        "pool_size": 8192,
        "population_size": 8192,
        "trials_per_generation": 24,
        "epochs": 8,
        "prune_after_epochs": 2,
        "final_epochs": 60,
        "final_repeats": 5,
        "num_finalists": 3,
        "minutes": 45.0,
        "batch_size": 256,
        "precision": "bfloat16",
    },
}
"""Settings by name. "record" is for all of CIFAR-10 on one GPU, and aims at an accuracy of more than 0.9."""
