"""The settings of an ensemble."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

from jnas.errors import JnasError

POOLINGS = ("mean", "max", "last")


@dataclass(frozen=True)
class EnsembleConfig:
    """Size and training of an ensemble of LSTMs; hashable, so that it can be a static argument of a jitted function.

    Attributes:
      members: number of networks.
      folds: number of parts of the rows; each member leaves out one part.
      hidden_dim: features of each direction's LSTM state.
      head_dim: units of the head's hidden layer.
      directions: 2 reads a sequence forwards and backwards, 1 forwards only.
      pooling: what the head sees of the LSTM's states: some of "mean", "max" and "last".
      dropout: dropout rate of the head's input and of its hidden layer.
      input_dropout: share of features that are hidden in all steps of a sequence during training.
      num_steps: optimiser steps.
      batch_size: rows in a step.
      learning_rate: peak of AdamW's one-cycle cosine schedule (Loshchilov and Hutter 2019, arXiv:1711.05101).
      weight_decay: of AdamW.
      epoch_dropout: share of rows whose last early epochs are hidden in a training step; how many is random.
      huber_delta: size of an error, in standard deviations, from which on it counts linearly (Huber 1964).

    Raises:
      JnasError: a value is out of its range.
    """

    members: int = 10
    folds: int = 10
    hidden_dim: int = 24
    head_dim: int = 24
    directions: int = 2
    pooling: tuple[str, ...] = ("mean",)
    dropout: float = 0.2
    input_dropout: float = 0.1
    num_steps: int = 200
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    epoch_dropout: float = 0.25
    huber_delta: float = 1.0

    def __post_init__(self):
        for name in ("members", "hidden_dim", "head_dim", "directions", "num_steps", "batch_size"):
            self._set(name, _integer(name, getattr(self, name), 1))
        self._set("folds", _integer("folds", self.folds, 2))
        self._set("pooling", tuple(self.pooling))
        for name in ("dropout", "input_dropout", "epoch_dropout"):
            self._set(name, _number(name, getattr(self, name), "in [0, 1)", lambda x: 0 <= x < 1))
        for name in ("learning_rate", "huber_delta"):
            self._set(name, _number(name, getattr(self, name), "> 0", lambda x: 0 < x < math.inf))
        self._set("weight_decay", _number("weight_decay", self.weight_decay, ">= 0", lambda x: 0 <= x < math.inf))
        if self.directions > 2:
            raise JnasError(f"directions must be 1 or 2, got {self.directions}.")
        if not self.pooling or not set(self.pooling) <= set(POOLINGS):
            raise JnasError(f"pooling must be some of {', '.join(POOLINGS)}, got {self.pooling}.")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _integer(name: str, value: Any, minimum: int) -> int:
    """`value` as Python's int, NumPy's included."""
    try:
        number = operator.index(value)
    except TypeError:
        raise JnasError(f"{name} must be an integer >= {minimum}, got {value!r}.") from None
    if number < minimum:
        raise JnasError(f"{name} must be >= {minimum}, got {number}.")
    return number


def _number(name: str, value: Any, condition: str, holds: Any) -> float:
    """`value` as Python's float, NumPy's included."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise JnasError(f"{name} must be a number {condition}, got {value!r}.") from None
    if not holds(number):
        raise JnasError(f"{name} must be {condition}, got {number:g}.")
    return number
