"""What the predictor knows before a row: LSTMs that were trained on the table of random templates of jnas.

They read what carries over to other images, classes and recipes: the types of layers, and features relative to the
image. The embedding of a network, their mean states, is what a Gaussian process corrects them by.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnas._validation import first_line, to_path
from jnas.errors import JnasError
from jnas.predict._arrays import by_path, from_paths
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, fit_ensemble, predictive_std
from jnas.predict._forward import Weights
from jnas.predict._shipped import shipped_file
from jnas.space import BITS_PER_LAYER, FEATURE_NAMES, LAYER_TYPES

NUM_FEATURES = BITS_PER_LAYER + len(FEATURE_NAMES)
"""Features of a layer that `Space.encode` returns; a prior understands no others."""
CONFIG = EnsembleConfig(members=4, hidden_dim=16, head_dim=24, num_steps=1500)
_COLUMNS = np.r_[: len(LAYER_TYPES), BITS_PER_LAYER:NUM_FEATURES]
"""What a prior reads: the type's bits, and the features."""
SUMMARY_WIDTH = 4 * len(FEATURE_NAMES) + 1
_LARGEST, _LEAST_STD = 4.0, 1e-6
"""Of a feature, in standard deviations of the table; and of these where a feature counts."""
_FORMAT = "jnas prior 1"

_fit = jax.jit(fit_ensemble, static_argnames="config")


class Belief(NamedTuple):
    """What a prior says of N networks.

    `expected` `[N]` are accuracies in standard deviations of the table. `embedding` `[N, D]` are mean states of the
    LSTMs, and `summary` `[N, S]` the last, mean, largest and smallest features of the layers; both in the table's
    standard deviations.
    """

    expected: np.ndarray
    embedding: np.ndarray
    summary: np.ndarray


class Scale(NamedTuple):
    """Means and standard deviations of features in a table."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        """Returns those of `[N, D]` features."""
        std = values.std(0)
        return cls(values.mean(0), np.where(std > _LEAST_STD, std, np.inf).astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns features in standard deviations, within limits; 0 for those that are alike in all of the table."""
        return np.clip((values - self.mean) / self.std, -_LARGEST, _LARGEST)


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """LSTMs that were trained on a table of accuracies, and the scales of what they see and say in the table."""

    params: EnsembleParams
    embedding_scale: Scale
    summary_scale: Scale

    def __repr__(self) -> str:
        config = self.params.config
        return f"Prior(members={config.members}, hidden_dim={config.hidden_dim})"

    @classmethod
    def fit(
        cls,
        sequences: Float[np.ndarray, "n t d"],
        lengths: np.ndarray,
        accuracies: np.ndarray,
        seed: int = 0,
        config: EnsembleConfig = CONFIG,
    ) -> Prior:
        """Returns a prior that is trained on networks as `Space.encode` describes them, and their accuracies."""
        columns, ones = sequences[..., _COLUMNS], np.ones(len(lengths), np.float32)
        accuracies = accuracies.astype(np.float32)
        params, _ = _fit(jax.random.key(seed), columns, lengths, accuracies, ones, None, config)
        _, states = Weights.of(params).read(columns, lengths)
        return cls(params, Scale.of(states), Scale.of(summarize(_features(sequences), lengths)))

    def ask(self, sequences: np.ndarray, lengths: np.ndarray) -> Belief:
        """Returns what the prior believes of networks as `Space.encode` describes them."""
        predictions, states = self._weights.read(sequences[..., _COLUMNS], lengths)
        summary = self.summary_scale(summarize(_features(sequences), lengths))
        return Belief(predictions.mean(0), self.embedding_scale(states), summary)

    def predict(self, sequences: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns means and standard deviations of the accuracies as they would be in the table."""
        predictions, _ = self._weights.read(sequences[..., _COLUMNS], lengths)
        members = self.params.transform.inverse(predictions)
        return members.mean(0), np.asarray(predictive_std(self.params, members))

    @functools.cached_property
    def _weights(self) -> Weights:
        return Weights.of(self.params)

    def save(self, path: str | Path) -> None:
        """Writes the prior as one .npz file."""
        arrays = {name: np.asarray(value) for name, value in by_path(self._state()).items()}
        header = json.dumps({"format": _FORMAT, **self._metadata()})
        with to_path("path", path).open("wb") as file:
            np.savez_compressed(file, header=np.array(header), allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Prior:
        """Returns the prior that `save` wrote; raises a `JnasError` for any other file."""
        path, hint = to_path("prior", path), "name a file that benchmarks/train_prior.py wrote, or None for no prior"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header", "{}")))
            if is_prior := header.get("format") == _FORMAT:
                target = cls._abstract_state(header)
                tree = from_paths({name: jnp.asarray(array) for name, array in arrays.items()}, target)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise JnasError(f"prior must be a readable file, got {path} ({first_line(error)}); {hint}.") from error
        if not is_prior:
            raise JnasError(f"prior must be a file of {_FORMAT!r}, got {path}; {hint}.")
        return cls.from_arrays(tree, header)

    def _state(self) -> dict:
        """Returns a tree of all arrays."""
        scales = {"embedding": self.embedding_scale, "summary": self.summary_scale}
        return {"params": self.params} | {name: scale._asdict() for name, scale in scales.items()}

    def _metadata(self) -> dict:
        """Returns all else, as JSON can hold it."""
        return {"config": dataclasses.asdict(self.params.config)}

    @classmethod
    def from_arrays(cls, arrays: dict, metadata: dict) -> Prior:
        """Returns the prior of what `_state` and `_metadata` returned."""
        scales = (Scale(*map(np.asarray, arrays[name].values())) for name in ("embedding", "summary"))
        return cls(arrays["params"], *scales)

    @staticmethod
    def _abstract_state(metadata: dict) -> dict:
        """Returns the shapes and types of `_state`."""
        config = EnsembleConfig(**metadata["config"])
        widths = {"embedding": 2 * config.members * config.hidden_dim, "summary": SUMMARY_WIDTH}
        shapes = {name: jax.ShapeDtypeStruct((width,), np.float32) for name, width in widths.items()}
        params = {"params": EnsembleParams.abstract(len(_COLUMNS), 0, config)}
        return params | {name: {"mean": shape, "std": shape} for name, shape in shapes.items()}


@functools.cache
def shipped_prior() -> Prior:
    """Returns the prior that comes with jnas."""
    return Prior.load(shipped_file("prior.npz"))


def _features(sequences: np.ndarray) -> np.ndarray:
    """What `Space.encode` says of layers beside their bits."""
    return sequences[..., BITS_PER_LAYER:].astype(np.float32)


def summarize(features: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the last, mean, largest and smallest features of the valid steps, and their number, `[N, S]`."""
    valid = (np.arange(features.shape[1]) < lengths[:, None])[..., None]
    last = np.take_along_axis(features, lengths[:, None, None] - 1, axis=1)[:, 0]
    mean = (features * valid).sum(1) / lengths[:, None]
    extremes = np.where(valid, features, -np.inf).max(1), np.where(valid, features, np.inf).min(1)
    return np.concatenate([last, mean, *extremes, lengths[:, None]], 1, dtype=features.dtype)
