"""A space within limits of cost, as the genetic algorithm sees it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError
from jnas.space import variation
from jnas.space.space import Space
from jnas.space.trace import trace


@dataclass(frozen=True)
class LimitedSpace:
    """A space's genes for the genetic algorithm: what exceeds the limits is not valid."""

    space: Space
    max_params: int | None
    max_macs: int | None

    def sample(self, key: jax.Array, count: int, least: int | None = None) -> jax.Array:
        """`[count, L, 6]` random genomes within the limits; where these are rare, `least` (by default all) will do.

        Raises:
          JnasError: fewer random templates than that are.
        """
        least = count if least is None else least
        found, total = [], 0
        for attempt in range(50):
            genomes = self.space.sample(jax.random.fold_in(key, attempt), max(count, 1024))
            found.append(np.asarray(genomes)[np.asarray(_valid(self, genomes))])
            total += len(found[-1])
            if total >= count:
                break
        if total >= least:
            return jnp.asarray(np.concatenate(found)[:count])
        limits = " and ".join(
            f"{name.replace('_', '-')} {value:,}"
            for name, value in (("max_params", self.max_params), ("max_macs", self.max_macs))
            if value is not None
        )
        raise JnasError(
            f"Only {total} of {50 * max(count, 1024):,} random templates satisfy {limits}, and {least} are needed: "
            "raise the limits."
        )

    def valid(self, genomes: jax.Array) -> jax.Array:
        traced = trace(genomes, self.space.in_shape, self.space.classes)
        valid = traced.valid
        for limit, count in ((self.max_params, traced.params), (self.max_macs, traced.macs)):
            if limit is not None:
                high, low = map(np.uint32, divmod(limit, 2**32))
                valid &= (count[0] < high) | ((count[0] == high) & (count[1] <= low))
        return valid

    crossover = staticmethod(variation.crossover)
    mutate = staticmethod(variation.mutate)
    key_of = staticmethod(variation.key_of)


_valid = jax.jit(LimitedSpace.valid, static_argnums=0)
