"""The records that a store keeps. What a column of a row means is in docs/store.md."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["ok", "diverged", "too_large", "out_of_memory", "timeout", "stopped", "invalid", "error"]

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"]
"""What networks may be compared by; balanced accuracy and F1 are means over classes."""

RETRYABLE_STATUSES = ("too_large", "out_of_memory", "timeout", "stopped", "error")
"""Statuses that may change on another device, or with more time."""


class Key(NamedTuple):
    """Identifies an evaluation: two with the same key have the same result.

    `in_shape` is an image's channels, height and width as "3x32x32". `split_seed` decides which images are kept for
    validation; `seed` is that of the initial weights, the order of the images, augmentation and dropout. The rest are
    `Template.hash`, `Recipe.id` and `Dataset.fingerprint`.
    """

    hash: str
    in_shape: str
    num_classes: int
    recipe_id: str
    dataset_fingerprint: str
    split_seed: int
    seed: int


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. Accuracies are fractions, `val_acc` that of all images after the epoch.

    `train_loss` and `train_acc` are means over the augmented batches, in training mode, while the weights change.
    `val_loss` is without label smoothing; `val_balanced_acc` and `val_macro_f1` are means over classes.
    """

    train_loss: float
    train_acc: float
    val_acc: float
    val_loss: float | None = None
    val_balanced_acc: float | None = None
    val_macro_f1: float | None = None


_SIGNED = {"balanced_accuracy": (1, "val_balanced_acc"), "macro_f1": (1, "val_macro_f1"), "loss": (-1, "val_loss")}


@dataclass(frozen=True)
class Evaluation:
    """One template trained under one recipe with one seed. Accuracies are fractions in [0, 1].

    Attributes:
      status: "ok"; "diverged" if the loss was not finite; "too_large" if it needs more memory than there is, so that
        training was not tried; "out_of_memory" if it was tried and did not fit; "timeout" if compiling took longer
        than allowed; "stopped" if training ended before its last epoch; "invalid" if the template does not fit the
        data; "error" for anything else.
      val_acc_final, train_acc_final: those of the last epoch; searches compare the former.
      val_acc_max: the highest validation accuracy of all epochs. It is biased upwards, because it is selected on the
        images that it is measured on.
      test_acc_final: test accuracy after the last epoch; measured for the winner of a search only.
      params, macs, flops: learnable parameters, and the operations for one image.
      compile_seconds, train_seconds: wall time, divided among the trials that share a program; that of training
        includes measuring accuracies.
      device, host: the processor or the GPU that trained it, and the name of the machine.
    """

    key: Key
    status: Status = "ok"
    message: str = ""
    val_acc_final: float | None = None
    val_acc_max: float | None = None
    train_acc_final: float | None = None
    test_acc_final: float | None = None
    params: int | None = None
    macs: int | None = None
    flops: int | None = None
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    device: str = ""
    host: str = ""
    epochs: tuple[Epoch, ...] = ()

    def score(self, metric: Metric) -> float:
        """Returns a measure on the validation images after the last epoch; minus the loss, so that more is better."""
        if metric == "accuracy":
            return -math.inf if self.val_acc_final is None else self.val_acc_final
        sign, name = _SIGNED[metric]
        value = getattr(self.epochs[-1], name) if self.epochs else None
        return -math.inf if value is None else sign * value

    @property
    def is_final(self) -> bool:
        """Whether training again would only repeat the result."""
        return self.status not in RETRYABLE_STATUSES


class ProposalRow(NamedTuple):
    """An architecture that a search proposed, with the predicted validation accuracy if there was a predictor."""

    hash: str
    predicted_mean: float | None
    predicted_std: float | None
