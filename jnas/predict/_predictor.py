"""The predictor: a prior that ships, corrected by the rows that there are; where these are many, LSTMs of their own."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from jnas._validation import to_instance
from jnas.errors import JnasError
from jnas.predict._base import Regressor, validate_rows
from jnas.predict._corrected_prior import CorrectedPrior
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._lstm_ensemble import LSTMEnsemble
from jnas.predict._prior import NUM_FEATURES, Prior, shipped_prior

MIN_ROWS, MANY_ROWS = 3, 500
"""Rows that correct a prior, at least, and from which on an ensemble is trained to them, too."""


class Predictor(Regressor):
    """Sequences of layer vectors in, an accuracy and its uncertainty out.

    Rows as `Space.encode` describes them are judged by the prior first: LSTMs that were trained on the table of random
    templates that comes with jnas. A Gaussian process corrects these by the rows of `fit`, 3 or more, in closed form.
    From 500 rows on an `LSTMEnsemble` is trained, too, and each of the two counts as much as left-out rows say.
    Without a prior, or where rows have other features, there is the ensemble alone, which needs 10 rows.

    Before `fit`, `predict` returns what the prior expects: accuracies as in its table.

    Args:
      seed: of all that is random in `fit`.
      config: size and training of the ensemble.
      prior: "table", the path of another prior (`benchmarks/train_prior.py` writes it), a predictor that was fitted to
        other rows, such as those of another recipe, or None for none.

    Example:
      >>> import jax, jnas
      >>> space = jnas.Space()
      >>> genomes = space.sample_valid(jax.random.key(0), 20)
      >>> mean, std = Predictor().predict(space.encode(genomes), jnas.space.lengths(genomes))
      >>> mean.shape == std.shape == (len(genomes),)
      True
    """

    name = "jnas"

    def __init__(
        self,
        seed: int = 0,
        config: EnsembleConfig = EnsembleConfig(),  # noqa: B008  a constant
        prior: Literal["table"] | str | os.PathLike[str] | Prior | Predictor | None = "table",
    ):
        super().__init__(seed)
        self.config = to_instance("config", config, EnsembleConfig)
        self._prior = _to_prior(prior)
        self._corrected: CorrectedPrior | None = None
        self._ensemble: LSTMEnsemble | None = None
        self._weight = 1.0
        """Of the last of these."""

    @property
    def prior(self) -> Prior | CorrectedPrior | None:
        """What is known before any row; the one that ships is loaded when it is first asked for."""
        return shipped_prior() if isinstance(self._prior, str) else self._prior

    def _fit(self, sequences, lengths, early, targets):
        rows, prior = (sequences, lengths, early, targets), self._prior_of(sequences.shape[2])
        self._corrected = None if prior is None else CorrectedPrior(prior, self.seed)
        is_trained = prior is None or len(targets) >= MANY_ROWS
        self._ensemble = LSTMEnsemble(self.seed, self.config) if is_trained else None
        for part in self._parts():
            part.num_features, part.num_epochs = sequences.shape[2], early.shape[1]
        left_out = [part._fit(*rows) for part in self._parts()]
        self._weight = _weight_of_last(left_out, targets)
        return _mean(left_out, self._weight)

    def _predict(self, sequences, lengths, early):
        if self.num_features is None:
            prior = self._prior_of(sequences.shape[2])
            assert prior is not None, "a predictor without one has to be fitted"
            return prior.predict(sequences, lengths)
        means, stds = zip(*(part._predict(sequences, lengths, early) for part in self._parts()), strict=True)
        return _mean(means, self._weight), _mean(stds, self._weight)

    def _parts(self) -> list[CorrectedPrior | LSTMEnsemble]:
        return [part for part in (self._corrected, self._ensemble) if part is not None]

    def _prior_of(self, num_features: int) -> Prior | CorrectedPrior | None:
        """What is known of rows with so many features."""
        return self.prior if num_features == NUM_FEATURES else None

    def _min_rows(self, num_features):
        return super()._min_rows(num_features) if self._prior_of(num_features) is None else MIN_ROWS

    def _validate_and_pad(self, sequences, lengths, early):
        if self.num_features is None:
            rows = validate_rows(sequences, lengths, early)
            if self._prior_of(rows.sequences.shape[2]) is not None:
                return rows
        return super()._validate_and_pad(sequences, lengths, early)

    def _state(self):
        return [part._state() for part in self._parts()]

    def _metadata(self):
        corrected = self._corrected and self._corrected._metadata()
        ensemble = self._ensemble and self._ensemble._metadata()
        config = dataclasses.asdict(self.config)
        return {"config": config, "weight": self._weight, "corrected": corrected, "ensemble": ensemble}

    def _abstract_state(self, metadata):
        self.config, self._weight = EnsembleConfig(**metadata["config"]), metadata["weight"]
        self._corrected = metadata["corrected"] and CorrectedPrior.to_restore(self.seed)
        self._ensemble = metadata["ensemble"] and LSTMEnsemble(self.seed, self.config)
        for part in self._parts():
            part.num_features, part.num_epochs = self.num_features, self.num_epochs
        return [part._abstract_state(extra) for part, extra in self._with_metadata(metadata)]

    def _set_state(self, state, metadata):
        for (part, extra), values in zip(self._with_metadata(metadata), state, strict=True):
            part._set_state(values, extra)

    def _with_metadata(self, metadata: dict) -> list[tuple[CorrectedPrior | LSTMEnsemble, dict]]:
        return list(zip(self._parts(), filter(None, (metadata["corrected"], metadata["ensemble"])), strict=True))


def _to_prior(prior: Any) -> Prior | CorrectedPrior | Literal["table"] | None:
    if isinstance(prior, Predictor):
        if prior._corrected is None:
            raise JnasError(f"prior must be a predictor that was fitted with a prior of its own, got {prior}.")
        return prior._corrected
    if prior is None or isinstance(prior, Prior):
        return prior
    return "table" if isinstance(prior, str) and prior == "table" else Prior.load(prior)


def _weight_of_last(left_out: Sequence[np.ndarray], targets: np.ndarray) -> float:
    """How much the last of one or two predictions counts: so that the mean has the least squared error."""
    if len(left_out) == 1:
        return 1.0
    first, last = left_out
    judged = np.isfinite(first) & np.isfinite(last)
    change = (last - first)[judged]
    return float(np.clip((targets - first)[judged] @ change / max(change @ change, 1e-12), 0, 1))


def _mean(values: Sequence[np.ndarray], weight: float) -> np.ndarray:
    return values[0] if len(values) == 1 else (1 - weight) * values[0] + weight * values[1]
