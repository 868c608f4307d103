"""The settings of an ensemble."""

from dataclasses import dataclass
from functools import partial

from jnas._validation import Rule, apply_rules, to_float, to_int

_RULES: dict[str, Rule] = {
    "members": partial(to_int, minimum=1, maximum=1000),
    "folds": partial(to_int, minimum=2, maximum=1000),
    **dict.fromkeys(("hidden_dim", "head_dim", "batch_size"), partial(to_int, minimum=1, maximum=4096)),
    "num_steps": partial(to_int, minimum=1, maximum=1_000_000),
    **dict.fromkeys(("dropout", "input_dropout", "epoch_dropout"), partial(to_float, interval="[0, 1)")),
    **dict.fromkeys(("learning_rate", "huber_delta"), partial(to_float, interval="(0, inf)")),
    "weight_decay": partial(to_float, interval="[0, inf)"),
}


@dataclass(frozen=True)
class EnsembleConfig:
    """Size and training of an ensemble of LSTMs; hashable, so that it can be a static argument of a jitted function.

    Attributes:
      folds: number of parts of the rows; each member leaves out one part.
      hidden_dim, head_dim: features of each direction's LSTM state, and units of the head's hidden layer.
      dropout: dropout rate of the head's input and of its hidden layer.
      input_dropout: share of features that are hidden in all steps of a sequence during training.
      num_steps: optimiser steps, each on `batch_size` rows; of `LSTMEnsemble` the least, as many rows need more.
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
        apply_rules(self, _RULES)
