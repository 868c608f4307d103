"""The settings of an ensemble."""

import math
import operator
from dataclasses import dataclass

from jnas.errors import JnasError

_COUNT = (operator.index, "an integer", ">= 1", lambda x: x >= 1)
_RATE = (float, "a number", "in [0, 1)", lambda x: 0 <= x < 1)
_POSITIVE = (float, "a number", "> 0", lambda x: 0 < x < math.inf)
_CONDITIONS = {
    **dict.fromkeys(("members", "hidden_dim", "head_dim", "num_steps", "batch_size"), _COUNT),
    "folds": (operator.index, "an integer", ">= 2", lambda x: x >= 2),
    **dict.fromkeys(("dropout", "input_dropout", "epoch_dropout"), _RATE),
    **dict.fromkeys(("learning_rate", "huber_delta"), _POSITIVE),
    "weight_decay": (float, "a number", ">= 0", lambda x: 0 <= x < math.inf),
}


@dataclass(frozen=True)
class EnsembleConfig:
    """Size and training of an ensemble of LSTMs; hashable, so that it can be a static argument of a jitted function.

    Attributes:
      folds: number of parts of the rows; each member leaves out one part.
      hidden_dim, head_dim: features of each direction's LSTM state, and units of the head's hidden layer.
      dropout: dropout rate of the head's input and of its hidden layer.
      input_dropout: share of features that are hidden in all steps of a sequence during training.
      num_steps: optimiser steps, each on `batch_size` rows.
      learning_rate: peak of AdamW's one-cycle cosine schedule (Loshchilov and Hutter 2019, arXiv:1711.05101).
      epoch_dropout: share of rows whose last early epochs are hidden in a training step; how many is random.
      huber_delta: size of an error, in standard deviations, from which on it counts linearly (Huber 1964).

    Raises a `JnasError` if a value is out of its range.
    """

    members: int = 10
    folds: int = 10
    hidden_dim: int = 24
    head_dim: int = 24
    dropout: float = 0.2
    input_dropout: float = 0.1
    num_steps: int = 200
    batch_size: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    epoch_dropout: float = 0.25
    huber_delta: float = 1.0

    def __post_init__(self):
        for name, (convert, noun, condition, holds) in _CONDITIONS.items():
            value = getattr(self, name)
            try:
                number = convert(value)  # Python's own number for NumPy's
            except (TypeError, ValueError):
                raise JnasError(f"{name} must be {noun} {condition}, got {value!r}.") from None
            if not holds(number):
                raise JnasError(f"{name} must be {condition}, got {number:g}.")
            object.__setattr__(self, name, number)
