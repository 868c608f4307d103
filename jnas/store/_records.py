"""The records that a store keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict

Status = Literal["ok", "nan", "too_large", "out_of_memory", "timeout", "stopped", "invalid", "error"]

RETRYABLE_STATUSES = ("too_large", "out_of_memory", "timeout", "stopped", "error")
"""Statuses that may change on another device, or with more time."""


class Key(NamedTuple):
    """Identifies an evaluation: two with the same key have the same result.

    Attributes:
      hash: `Template.hash`.
      in_shape: the shape of an image as "3x32x32": channels, height, width.
      num_classes: the number of classes.
      recipe_id: `Recipe.id`.
      dataset_fingerprint: `Dataset.fingerprint`.
      split_seed: decides which images are kept for validation.
      seed: of the initial weights, the order of the images, augmentation and dropout.
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
    """One pass over the training images.

    Attributes:
      train_loss: mean loss over the epoch's batches, augmented, in training mode, while the weights change.
      train_acc: mean accuracy over the same batches, a fraction.
      val_acc: accuracy on all validation images after the epoch, a fraction.
    """

    train_loss: float
    train_acc: float
    val_acc: float


@dataclass(frozen=True)
class Evaluation:
    """One template trained under one recipe with one seed. Accuracies are fractions in [0, 1].

    Attributes:
      key: what was trained, and how.
      status: "ok"; "nan" if the loss was not finite; "too_large" if it needs more memory than there is, so that
        training was not tried; "out_of_memory" if it was tried and did not fit; "timeout" if compiling took longer
        than allowed; "stopped" if training ended before its last epoch; "invalid" if the template does not fit the
        data; "error" for anything else.
      message: what happened, for a status other than "ok".
      val_acc_final: validation accuracy after the last epoch, which searches compare.
      val_acc_max: the highest validation accuracy of all epochs. It is biased upwards, because it is selected on the
        images that it is measured on.
      train_acc_final: training accuracy of the last epoch; see `Epoch`.
      test_acc_final: test accuracy after the last epoch; measured for the winner of a search only.
      params: learnable parameters.
      macs: multiply-accumulates for one image.
      flops: floating-point operations for one image.
      compile_seconds: wall time of compiling, divided among the trials that share a program.
      train_seconds: wall time of training and of measuring accuracies, divided among the trials that train together.
      device: the name of the device.
      epochs: the learning curve.
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
    def is_final(self) -> bool:
        """Whether training again would only repeat the result."""
        return self.status not in RETRYABLE_STATUSES


class ProposalRow(NamedTuple):
    """An architecture that a search proposed.

    Attributes:
      hash: `Template.hash`.
      predicted_mean: predicted validation accuracy; None if there was no predictor.
      predicted_std: standard deviation of the prediction; None if there was no predictor.
    """

    hash: str
    predicted_mean: float | None
    predicted_std: float | None


class ExperimentRow(TypedDict, total=False):
    """Columns of the table `experiments`."""

    config_json: dict[str, Any]
    recipe_id: str
    dataset_fingerprint: str
    dataset_name: str
    in_shape: str
    num_classes: int
    split_seed: int
    seed: int
    versions: dict[str, str]
    git_commit: str | None


class GenerationRow(TypedDict, total=False):
    """Columns of the table `generations`."""

    experiment_id: str
    phase: str
    generation: int
    num_trained: int
    val_acc_final_best: float | None
    val_acc_final_mean: float | None
    kendall_tau: float | None
    diversity: float | None
    population_diversity: float | None
    front_size: int
    seconds: float


class PredictorRow(TypedDict, total=False):
    """Columns of the table `predictors`."""

    experiment_id: str
    generation: int
    num_rows: int
    r2: float
    kendall_tau: float
    spearman: float
    seconds: float
    checkpoint: str


class FrontRow(TypedDict, total=False):
    """One member of a Pareto front: columns of the table `fronts`."""

    hash: str
    val_acc_final: float | None
    params: int | None
    macs: int | None
    latency_ms: float | None
