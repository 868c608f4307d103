"""What a search knows of latencies: measured once a template and device, kept in the store."""

from __future__ import annotations

import numpy as np

from jnas._runtime.devices import device_name
from jnas._search.objectives import LATENCY_TERMS, latency_model
from jnas.space import Template
from jnas.store import Store
from jnas.train import latency_ms

IMAGES = 1
"""Images at once."""


class Latencies:
    """Milliseconds for one image, by template.

    Args:
      store: where measurements are kept.
      in_shape, classes: of the templates.
    """

    def __init__(self, store: Store, in_shape: tuple[int, int, int], classes: int):
        self.store, self.in_shape, self.classes = store, in_shape, classes
        self.facts = {"in_shape": "x".join(map(str, in_shape)), "num_classes": classes}
        self.facts |= {"device": device_name(), "batch_size": IMAGES}
        self.known = store.latencies(**self.facts)

    def of(self, name: str) -> float:
        """The latency of the template with this hash; measured where it is not known."""
        if name not in self.known:
            measured = latency_ms(self._template(name), IMAGES)
            self.store.add_latency(hash=name, latency_ms=measured, **self.facts)
            self.known[name] = measured
        return self.known[name]

    def model(self, names: list[str]) -> np.ndarray:
        """Coefficients that estimate what was not measured, from these of the templates that were."""
        found = [name for name in names if name in self.known]
        return latency_model([self._template(name) for name in found], [self.known[name] for name in found])

    @staticmethod
    def no_model() -> np.ndarray:
        """In place of a model where nobody asks for latencies."""
        return np.zeros(LATENCY_TERMS, np.float32)

    def _template(self, name: str) -> Template:
        return Template.from_hash(name, self.in_shape, self.classes)
