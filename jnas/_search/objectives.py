"""What a search optimises besides the accuracy: the costs of templates, known or measured."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from jnas._runtime.devices import device_name
from jnas._search.config import Objective
from jnas._validation import refuse, to_path
from jnas.space import Candidate, Space, Template, board_needs
from jnas.store import Store
from jnas.train import latency_ms

_BATCH_SIZE = 1
_LEAST_TEMPLATES = 5
"""To which a model of latency with four coefficients is fitted."""


class Latencies:
    """Milliseconds for one image, measured once for a template and device, and kept in the store.

    With `given` ones, by hash, they are those of another machine: of the templates that it has, and for all others what
    a model of latency says that is fitted to them. Nothing is measured then.
    """

    def __init__(self, store: Store, space: Space, given: dict[str, float] | None = None):
        self._store = store
        images = {"in_shape": "x".join(map(str, space.in_shape)), "num_classes": space.classes}
        self._columns = images | {"device": device_name(), "batch_size": _BATCH_SIZE}
        self._coefficients: Float32[np.ndarray, " 4"] | None = None
        if given is None:
            self.measured = store.latencies(**self._columns)  # by hash
            return
        self.measured = dict(given)
        templates = [Template.from_hash(hash, space.in_shape, space.classes) for hash in self.measured]
        self._coefficients = _fit(templates, list(self.measured.values()))

    def measure(self, candidate: Candidate) -> float:
        if candidate.hash not in self.measured and self._coefficients is not None:
            self.measured[candidate.hash] = float(_terms(candidate.template) @ self._coefficients)
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
        if self._coefficients is not None:
            return self._coefficients
        known = [candidate for candidate in candidates if candidate.hash in self.measured]
        if len(known) < _LEAST_TEMPLATES:
            return np.array([0.0, 0.01, 0.1, 0.0], np.float32)
        return _fit([candidate.template for candidate in known], [self.measured[one.hash] for one in known])

    def costs(
        self, candidates: Sequence[Candidate], objectives: Sequence[Objective], known: Sequence[Candidate] = ()
    ) -> Float[np.ndarray, "n m"]:
        """Returns the cost of each candidate in each of M objectives.

        A latency that was not measured is estimated by those of `known` candidates; without these it is infinite.
        """
        coefficients = self.fit(known) if known and "latency" in objectives else None

        def cost(candidate: Candidate, objective: Objective) -> float:
            template = candidate.template
            if objective == "latency":
                unknown = np.inf if coefficients is None else max(float(_terms(template) @ coefficients), 1e-6)
                return self.measured.get(candidate.hash, unknown)
            if objective in ("memory", "flash"):
                return board_needs(template)[f"{objective}_bytes"]
            return getattr(template.cost, objective)

        rows = [[cost(candidate, objective) for objective in objectives] for candidate in candidates]
        return np.array(rows, float).reshape(len(candidates), len(objectives))


def _terms(template: Template) -> Float[np.ndarray, " 4"]:
    return np.array([1.0, len(template.layers), template.cost.flops / 1e6, template.cost.params / 1e6])


def _fit(templates: Sequence[Template], milliseconds: Sequence[float]) -> Float32[np.ndarray, " 4"]:
    """Returns coefficients of `_terms`, of which none is negative, by least squares."""
    from scipy.optimize import nnls

    return nnls(np.stack([_terms(t) for t in templates]), np.array(milliseconds))[0].astype(np.float32)


def read_latencies(file: str | Path, space: Space) -> dict[str, float]:
    """Returns the milliseconds for one image by hash, of templates of a space, in a file that `jnas latency` printed.

    With one thread, and of float models where a template was timed in eight-bit integers as well.

    Raises:
      JnasError: if it is no such file, or has fewer than five templates for these images and classes.
    """
    path = to_path("latencies", file)
    try:
        rows = json.loads(path.read_text())["rows"]
        rows = sorted((row for row in rows if "hash" in row), key=lambda row: row["form"] == "onnx")  # the last counts
        found = {
            str(row["hash"]): float(row["median_ms"])
            for row in rows
            if (row["batch_size"], row["threads"]) == (_BATCH_SIZE, 1)
            and (tuple(row["in_shape"]), row["classes"]) == (space.in_shape, space.classes)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        refuse("latencies", "a file that jnas latency or an export's latency.py printed", str(file))
    if len(found) < _LEAST_TEMPLATES or not all(0 < value < np.inf for value in found.values()):
        hint = f"export {_LEAST_TEMPLATES} networks or more with --hash, and time them in one call"
        images = f"{'x'.join(map(str, space.in_shape))} images and {space.classes} classes"
        refuse("latencies", f"a file with {_LEAST_TEMPLATES} or more templates for {images}", len(found), hint)
    return found


def find_incumbents(
    costs: Float[np.ndarray, "n m"], known_costs: Float[np.ndarray, "r m"], scores: Float[np.ndarray, " r"]
) -> Float[np.ndarray, " n"]:
    """Returns the highest known score at each of N costs or less, in all M objectives; -inf where there is none."""
    rivals = (known_costs[None] <= costs[:, None]).all(-1)
    return np.where(rivals, scores, -np.inf).max(-1, initial=-np.inf)
