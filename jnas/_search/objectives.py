"""What a search optimises besides the accuracy: the costs of templates, known or measured."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int8

from jnas._runtime.devices import device_name
from jnas._search.config import Objective
from jnas.space import Candidate, Space, infer_shapes, lengths
from jnas.store import Store
from jnas.train import latency_ms

_BATCH_SIZE = 1


def negated_log_costs(
    space: Space,
    objectives: tuple[Objective, ...],
    genomes: Int8[Array, "n l 6"],
    latency_coefficients: Float[Array, " 4"],
) -> Float[Array, "n m"]:
    """Returns every objective but the accuracy, so that more is better: minus the logarithm of the cost."""
    inferred = infer_shapes(genomes, space.in_shape, space.classes)
    params = inferred.params.to_float()
    terms = [jnp.ones(len(genomes)), lengths(genomes) + 1.0, inferred.flops.to_float() / 1e6, params / 1e6]
    latency = jnp.stack(terms, -1) @ latency_coefficients
    costs = {"macs": inferred.macs.to_float(), "params": params, "latency": latency}
    columns = [-jnp.log(jnp.maximum(costs[name], 1e-6)) for name in objectives if name != "accuracy"]
    return jnp.stack(columns, -1)


class Latencies:
    """Milliseconds for one image, measured once for a template and device, and kept in the store."""

    def __init__(self, store: Store, space: Space):
        self._store = store
        images = {"in_shape": "x".join(map(str, space.in_shape)), "num_classes": space.classes}
        self._columns = images | {"device": device_name(), "batch_size": _BATCH_SIZE}
        self.measured = store.latencies(**self._columns)  # by hash

    def measure(self, candidate: Candidate) -> float:
        if candidate.hash not in self.measured:
            milliseconds = latency_ms(candidate.template, _BATCH_SIZE)
            self._store.add_row("latencies", hash=candidate.hash, latency_ms=milliseconds, **self._columns)
            self.measured[candidate.hash] = milliseconds
        return self.measured[candidate.hash]

    def fit(self, candidates: Sequence[Candidate]) -> Float32[np.ndarray, " 4"]:
        """Returns the coefficients of a model of latency: of a constant, layers, MFLOPs and millions of parameters.

        It is fitted to the candidates that were measured, without negative coefficients. Without five of them it only
        ranks, by layers and FLOPs.
        """
        from scipy.optimize import nnls

        known = [candidate for candidate in candidates if candidate.hash in self.measured]
        if len(known) < 5:
            return np.array([0.0, 0.01, 0.1, 0.0], np.float32)
        templates = [candidate.template for candidate in known]
        terms = [[1.0, len(t.layers), t.cost.flops / 1e6, t.cost.params / 1e6] for t in templates]
        milliseconds = [self.measured[candidate.hash] for candidate in known]
        return nnls(np.array(terms), np.array(milliseconds))[0].astype(np.float32)

    def costs(self, candidates: Sequence[Candidate], objectives: Sequence[Objective]) -> Float[np.ndarray, "n m"]:
        """Returns the cost of each candidate in each of M objectives; infinite where a latency is not known."""
        columns = {
            "macs": [candidate.template.cost.macs for candidate in candidates],
            "params": [candidate.template.cost.params for candidate in candidates],
            "latency": [self.measured.get(candidate.hash, np.inf) for candidate in candidates],
        }
        return np.array([columns[name] for name in objectives], float).reshape(len(objectives), len(candidates)).T


def find_incumbents(
    costs: Float[np.ndarray, "n m"], known_costs: Float[np.ndarray, "r m"], scores: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " n"]:
    """Returns the highest known score at each of N costs or less, in all M objectives; -inf where there is none."""
    rivals = (known_costs[None] <= costs[:, None]).all(-1)
    return np.where(rivals, scores, -np.inf).max(-1, initial=-np.inf)
