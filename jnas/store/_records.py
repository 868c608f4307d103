"""What an evaluation is: the row that training makes and the store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["ok", "nan", "too_large", "out_of_memory", "timeout", "stopped", "invalid", "error"]

RETRIED = ("too_large", "out_of_memory", "timeout", "stopped", "error")
"""What may end otherwise another time: on another device, or with more time."""


class Key(NamedTuple):
    """What makes two evaluations the same: repeated, they would only repeat the result.

    Attributes:
      hash, in_shape, classes: the architecture; `in_shape` is written "3x32x32", channels first.
      recipe: `Recipe.id`.
      data: `Dataset.fingerprint`.
      split_seed: which images are kept for validation.
      seed: of initial weights, image order, augmentation and dropout.
    """

    hash: str
    in_shape: str
    classes: int
    recipe: str
    data: str
    split_seed: int
    seed: int


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. Accuracies are shares, 0 to 1.

    `train_loss` and `train_acc` are means over the epoch's batches, augmented and in training mode, while the weights
    change; `val_acc` is measured after the epoch on all validation images.
    """

    train_loss: float
    train_acc: float
    val_acc: float


@dataclass(frozen=True)
class Evaluation:
    """One template trained under one recipe with one seed.

    Attributes:
      key: what was trained, and how.
      status: "ok"; "nan", the loss stopped being a number; "too_large", it would not fit into memory, so it was not
        tried; "out_of_memory", it was tried and did not fit; "timeout", its program took longer to compile than
        allowed; "stopped", it did not get to its last epoch; "invalid", the template does not fit the data; "error",
        anything else. `message` says what happened.
      val_acc_final: validation accuracy after the last epoch: what searches compare.
      val_acc_max: the highest over the epochs. Flatters, being chosen on the images it is measured on.
      train_acc_final: training accuracy over the last epoch; see `Epoch`.
      test_acc_final: test accuracy after the last epoch, where it was asked for: of a search's winner only.
      params, macs, flops: the template's cost for one image.
      compile_seconds, train_seconds: wall clock, shared out among those that were compiled or trained together;
        training includes the accuracy after each epoch.
      device: what it ran on.
      epochs: one entry each.
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
    epochs: tuple[Epoch, ...] = ()

    @property
    def lasting(self) -> bool:
        """Whether trying again would only repeat the result."""
        return self.status not in RETRIED
