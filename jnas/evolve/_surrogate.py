"""What predicts fitness in the loop: any regressor that fits and predicts under jit and says how sure it is."""

from __future__ import annotations

from typing import Any, Protocol

import jax


class Surrogate(Protocol):
    """A regressor as pure functions. It must be hashable; the parameters are any tree of arrays of fixed shapes."""

    def init(self, inputs: jax.Array) -> Any:
        """Parameters before the first fit, for `[R, ...]` inputs (only their shape matters)."""

    def fit(self, params: Any, inputs: jax.Array, targets: jax.Array, known: jax.Array) -> Any:
        """Parameters after a fit.

        Args:
          params: of the last fit, to start from.
          inputs: `[R, ...]`, as `SearchSpace.encode` gives them.
          targets: `[R]`, about standard normal.
          known: `[R]` bool, which rows there are.
        """

    def predict(self, params: Any, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation for `[N, ...]` inputs, `[N]` each."""
