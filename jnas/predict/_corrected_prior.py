"""A prior and the Gaussian process that corrects it by the rows of a fit, behind the common interface."""

from __future__ import annotations

import jax
import numpy as np

from jnas.predict._base import Regressor
from jnas.predict._gaussian_process import GaussianProcess, Knowledge
from jnas.predict._prior import SUMMARY_WIDTH, Belief, Prior

_MIN_ROWS, MAX_ROWS = 4, 2000
"""Rows that must have an epoch before a prediction uses it; and those that correct the prior, at most."""


class CorrectedPrior(Regressor):
    """What a prior expects, corrected in closed form: a fit of some hundred rows takes a fraction of a second.

    For each number of observed epochs there is a process of its own, of the rows that have as many, made when it is
    first needed.
    """

    name = "corrected_prior"

    def __init__(self, prior: Prior | CorrectedPrior, seed: int = 0):
        super().__init__(seed)
        self.prior = prior
        self._processes: dict[int, GaussianProcess] = {}

    @classmethod
    def to_restore(cls, seed: int) -> CorrectedPrior:
        """Returns one without a prior, for `_set_state`."""
        model = cls.__new__(cls)
        Regressor.__init__(model, seed)
        return model

    def _fit(self, sequences, lengths, early, targets) -> np.ndarray:
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(targets))[:MAX_ROWS])
        left_out = np.full(len(targets), np.nan)
        left_out[chosen] = self._fit_few(*(values[chosen] for values in (sequences, lengths, early, targets)))
        return left_out

    def _fit_few(self, sequences, lengths, early, targets) -> np.ndarray:
        belief = self.prior.ask(sequences, lengths)
        self._set_rows(Knowledge(belief.expected, belief.embedding, belief.summary, early), targets.astype(np.float32))
        left_out, counts = np.empty(len(targets)), self._usable_epochs(early)
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            among = np.searchsorted(self._rows_with(count), rows)
            left_out[rows] = self._process(count).left_out[among]
        return left_out

    def _predict(self, sequences, lengths, early):
        belief = self.prior.ask(sequences, lengths)
        mean, std = np.empty((2, len(lengths)))
        counts = self._usable_epochs(early)
        known = Knowledge(belief.expected, belief.embedding, belief.summary, early)
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            mean[rows], std[rows] = self._process(count).predict(self._scaled(known.take(rows), count))
        return mean, std

    def ask(self, sequences: np.ndarray, lengths: np.ndarray) -> Belief:
        """Returns what it believes of networks, as `Prior.ask` does: so it can be the prior of other rows."""
        belief, process = self.prior.ask(sequences, lengths), self._process(0)
        no_epochs = np.zeros((len(lengths), 0))
        mean, _ = process.predict(Knowledge(belief.expected, belief.embedding, belief.summary, no_epochs))
        expected = ((mean - process.mean) / process.std).astype(np.float32)
        return belief._replace(expected=expected)

    def _set_rows(self, known: Knowledge, targets: np.ndarray) -> None:
        self._known, self._targets, self._processes = known, targets, {}
        observed = np.arange(known.early.shape[1]) < _num_observed(known.early)[:, None]
        shown = np.where(observed.any(0), np.where(observed, known.early, np.nan), 0)
        self._epoch_mean, self._epoch_std = np.nanmean(shown, 0), np.maximum(np.nanstd(shown, 0), 1e-6)

    def _rows_with(self, count: int) -> np.ndarray:
        """The rows that have so many observed epochs."""
        return np.flatnonzero(_num_observed(self._known.early) >= count)

    def _usable_epochs(self, early: np.ndarray) -> np.ndarray:
        """How many epochs of each row are used: those that were observed, as far as enough rows of the fit had them."""
        numbers = [len(self._rows_with(count)) for count in range(1, self._known.early.shape[1] + 1)]
        return np.minimum(_num_observed(early), sum(number >= _MIN_ROWS for number in numbers))

    def _scaled(self, known: Knowledge, count: int) -> Knowledge:
        scaled = (known.early - self._epoch_mean) / self._epoch_std
        return known._replace(early=scaled[:, :count])

    def _process(self, count: int) -> GaussianProcess:
        if count not in self._processes:
            rows = self._rows_with(count)
            known = self._scaled(self._known.take(rows), count)
            self._processes[count] = GaussianProcess(known, self._targets[rows], self.seed)
        return self._processes[count]

    def _state(self):
        return {"prior": self.prior._state(), "known": self._known._asdict(), "targets": self._targets}

    def _metadata(self):
        columns = {"width": self._known.embedding.shape[1], "num_epochs": self._known.early.shape[1]}
        return {"prior": self.prior._metadata(), "num_rows": len(self._targets), **columns}

    def _abstract_state(self, metadata: dict) -> dict:
        prior, num_rows = _empty_prior(metadata["prior"])._abstract_state(metadata["prior"]), metadata["num_rows"]
        shapes = {"expected": (), "embedding": (metadata["width"],), "summary": (SUMMARY_WIDTH,)}
        shapes["early"] = (metadata["num_epochs"],)
        rows = {name: jax.ShapeDtypeStruct((num_rows, *shape), np.float32) for name, shape in shapes.items()}
        return {"prior": prior, "known": rows, "targets": rows["expected"]}

    def _set_state(self, state: dict, metadata: dict) -> None:
        self.prior = _empty_prior(metadata["prior"]).from_arrays(state["prior"], metadata["prior"])
        known = Knowledge(**{name: np.asarray(values) for name, values in state["known"].items()})
        self._set_rows(known, np.asarray(state["targets"]))

    def from_arrays(self, arrays: dict, metadata: dict) -> CorrectedPrior:
        """Returns the prior of what `_state` and `_metadata` returned, as `Prior.from_arrays` does."""
        self._set_state(arrays, metadata)
        return self


def _empty_prior(metadata: dict) -> type[Prior] | CorrectedPrior:
    """What makes a prior of its arrays."""
    return CorrectedPrior.to_restore(0) if "num_rows" in metadata else Prior


def _num_observed(early: np.ndarray) -> np.ndarray:
    """How many epochs come before the first NaN, `[N]`."""
    return np.cumprod(~np.isnan(early), 1).sum(1, dtype=int) if early.shape[1] else np.zeros(len(early), int)
