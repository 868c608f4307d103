"""A space within limits of cost, as the algorithms of `jnas.evolve` see it."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas.errors import JnasError
from jnas.space import _operators as variation
from jnas.space import _uint64 as wide
from jnas.space._featurize import features
from jnas.space._genome import CARDINALITY
from jnas.space._sampler import Space
from jnas.space._shape_inference import trace


@dataclass(frozen=True)
class LimitedSpace:
    """A search space of templates: what exceeds the limits is not valid.

    Args:
      space: the templates.
      max_params: learnable parameters, at most; None for no limit.
      max_macs: multiply-accumulates an image, at most; None for no limit.

    Genomes are `[L, 6]` int8, as those of `Space`.
    """

    space: Space
    max_params: int | None = None
    max_macs: int | None = None

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Of each row's columns; which values a column has depends on the row's KIND."""
        return tuple(CARDINALITY.max(0).tolist()) * self.space.length

    @property
    def neighbours(self) -> int:
        return variation.NEIGHBOURS * self.space.length

    def draw(self, key: jax.Array, count: int, least: int | None = None) -> jax.Array:
        """`[count, L, 6]` random genomes within the limits; where these are rare, `least` (by default all) will do.

        Raises:
          JnasError: fewer random templates than that are.
        """
        least = count if least is None else least
        size = 1 << (max(count, 1024) - 1).bit_length()  # few sizes, so that few programs are compiled
        found, total = [], 0
        for attempt in range(50):
            genomes = self.space.sample(jax.random.fold_in(key, attempt), size)
            found.append(np.asarray(genomes)[np.asarray(_valid(self, genomes))])
            total += len(found[-1])
            if total >= count:
                break
        if total >= least:
            return jax.device_put(np.concatenate(found)[:count])
        limits = " and ".join(
            f"{name.replace('_', '-')} {value:,}"
            for name, value in (("max_params", self.max_params), ("max_macs", self.max_macs))
            if value is not None
        )
        raise JnasError(
            f"Only {total} of {50 * size:,} random templates satisfy {limits}, and {least} are needed: "
            "raise the limits."
        )

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Random genomes, within the limits or not."""
        return self.space.sample(key, count)

    def repair(self, genomes: jax.Array) -> jax.Array:
        """What does not fit is dropped; the limits are not looked at."""
        return jax.vmap(variation.repair, (0, None))(genomes, self.space.in_shape)

    def valid(self, genomes: jax.Array) -> jax.Array:
        traced = trace(genomes, self.space.in_shape, self.space.classes)
        valid = traced.valid
        for limit, count in ((self.max_params, traced.params), (self.max_macs, traced.macs)):
            if limit is not None:
                valid &= wide.at_most(count, limit)
        return valid

    def encode(self, genomes: jax.Array) -> jax.Array:
        """`[N, L, FEATURES]` float32; see `features`."""
        return features(genomes, self.space.in_shape, self.space.classes)

    crossover = staticmethod(variation.crossover)
    mutate = staticmethod(variation.mutate)
    neighbour = staticmethod(variation.neighbour)
    distance = staticmethod(variation.distance)
    key_of = staticmethod(variation.key_of)


_valid = fast_compile_jit(LimitedSpace.valid, static_argnums=0)
