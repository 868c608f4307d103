"""The files of the predictor that come with jnas: the table of random templates, and the prior that it taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def shipped_file(name: str) -> Path:
    """Returns the path of a file of the folder `data`."""
    module = Path(__file__).resolve()
    installed = module.with_name(name)  # in a wheel
    return installed if installed.exists() else module.parents[2] / "data" / name  # in a checkout


def load_table() -> pd.DataFrame:
    """Returns the table of random templates that comes with jnas: a row for each training.

    Its columns are `hash`, `source` ("sophius", "modern" or "relatives" of hand-made networks), `seed`, `status`,
    `params`, `macs`, `flops`, `val_acc` (after the last epoch, on 4,000 validation images), and of each epoch 1 to 4
    `acc_*` (validation, before the last epoch on some 2,000 images), `train_acc_*` and `train_loss_*`. Accuracies are
    fractions. All were trained by `Recipe.fast(epochs=4, test_flip=False, test_shift=0)` on 3,000 images of CIFAR-10;
    every tenth template under three seeds. `benchmarks/make_table.py` makes it.
    """
    import pandas as pd

    return pd.read_csv(shipped_file("table.csv.gz"), dtype={"hash": str})
