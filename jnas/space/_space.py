"""The space of templates: its size, its random templates, its constraints, and its genes for evolution."""

from dataclasses import dataclass
from functools import partial
from typing import get_args

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int8

from jnas._runtime.compile_options import fast_compile_jit
from jnas._runtime.jax_config import with_own_settings
from jnas._runtime.random import check_key
from jnas._validation import Rule, apply_rules, optional, to_choice, to_instance, to_int, to_seed
from jnas.errors import JnasError
from jnas.space import _operators as operators
from jnas.space._board import board_needs, infer_board_needs
from jnas.space._features import featurize
from jnas.space._genome import check_genomes, from_genome
from jnas.space._layers import MAX_CLASSES, check_in_shape
from jnas.space._sampler import Style, grammar, sample_genomes
from jnas.space._shape_inference import infer_shapes
from jnas.space._template import Template

MAX_GENOMES = 1 << 20
LIMITS = {
    "max_params": ("params", 1),
    "max_macs": ("macs", 1),
    "max_memory_kb": ("memory_bytes", 1024),
    "max_flash_kb": ("flash_bytes", 1024),
}
"""By field of `Space`: the cost that it limits, and its unit."""
_MAX_BATCHES = 50  # of random genomes, in which `Space.sample_valid` looks for enough valid ones


_RULES: dict[str, Rule] = {
    "classes": partial(to_int, minimum=2, maximum=MAX_CLASSES),
    **dict.fromkeys(("conv_num", "lin_num"), partial(to_int, minimum=1, maximum=100)),
    "style": partial(to_choice, choices=get_args(Style)),
    **dict.fromkeys(
        LIMITS,
        optional(partial(to_int, minimum=1, maximum=2**64 - 1, hint="None is for no limit")),
    ),
}


@with_own_settings
@dataclass(frozen=True)
class Space:
    """A space of templates, for sampling and as a search space of `jnas.evolve`; its genomes are `[L, 6]` int8.

    An argument out of range raises a `JnasError`.

    Args:
      in_shape: `(C, H, W)` of one image.
      conv_num, lin_num: most convolutions and Linear layers (with the last one) of a random template.
      style: the generator of random templates, "sophius" or "modern"; see `jnas.space._sampler`.
      max_params, max_macs: limits of a valid template, for one image; None for no limit.
      max_memory_kb, max_flash_kb: limits of a board in units of 1,024 bytes, with int8 values; see `board_needs`.
    """

    in_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    conv_num: int = 6
    lin_num: int = 3
    style: Style = "sophius"
    max_params: int | None = None
    max_macs: int | None = None
    max_memory_kb: int | None = None
    max_flash_kb: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", check_in_shape(self.in_shape))
        apply_rules(self, _RULES)

    @property
    def length(self) -> int:
        """Rows of a genome: the layers of the longest random template without the last Linear."""
        return len(grammar(self.style, self.conv_num, self.lin_num))

    def sample(self, key: jax.Array, count: int) -> Int8[Array, "{count} l 6"]:
        """Returns genomes of random templates that ignore the limits; works under jit."""
        check_key(key)
        count = to_int("count", count, 0, MAX_GENOMES)
        return sample_genomes(key, count, self.in_shape, self.style, self.conv_num, self.lin_num)

    def sample_valid(self, key: jax.Array, count: int, min_count: int | None = None) -> Int8[Array, "n l 6"]:
        """Returns genomes of random templates within the limits; runs on the host.

        Raises a `JnasError` if fewer than `min_count` (by default `count`) were found.
        """
        check_key(key)
        count = to_int("count", count, 0, MAX_GENOMES)
        min_count = count if min_count is None else to_int("min_count", min_count, 0, MAX_GENOMES)
        size = 1 << (max(count, 1024) - 1).bit_length()  # few sizes, so that few programs are compiled
        batches, total = [], 0
        for batch in range(_MAX_BATCHES):
            genomes = self.sample(jax.random.fold_in(key, batch), size)
            batches.append(np.asarray(genomes)[np.asarray(_valid(self, genomes))])
            total += len(batches[-1])
            if total >= count:
                break
        if total >= min_count:
            return jax.device_put(np.concatenate(batches)[:count])  # compiles nothing for this number
        shown = self.describe_limits() or "The space"
        raise JnasError(
            f"{shown} must admit {min_count} random templates, got {total} of {_MAX_BATCHES * size:,}; "
            "raise the limits."
        )

    def random(self, seed: int) -> Template:
        """Returns one random template within the limits; raises as `sample_valid` does."""
        key = jax.random.key(to_seed("seed", seed))
        return self.template((self.sample_valid(key, 1) if self._limits() else self.sample(key, 1))[0])

    def template(self, genome: Int8[Array | np.ndarray, "l 6"]) -> Template:
        """Returns the template of a genome of this space."""
        return from_genome(genome, self.in_shape, self.classes)

    def repair(self, genomes: Int8[Array, "n l 6"]) -> Int8[Array, "n l 6"]:
        """Returns genomes without the layers that do not fit; ignores the limits."""
        return jax.vmap(operators.repair, (0, None))(check_genomes(genomes), self.in_shape)

    def valid(self, genomes: Int8[Array | np.ndarray, "n l 6"]) -> Bool[Array, " n"]:
        """Returns which genomes are templates within the limits."""
        inferred = infer_shapes(check_genomes(genomes), self.in_shape, self.classes)
        costs, limits = {"params": inferred.params, "macs": inferred.macs}, self._limits()
        if limits.keys() - costs.keys():
            costs |= infer_board_needs(genomes, inferred, self.in_shape, self.classes)
        valid = inferred.valid
        for name, limit in limits.items():
            valid &= costs[name] <= limit
        return valid

    def admits(self, template: Template) -> bool:
        """Returns whether a template is within the limits, and not too long for a genome."""
        cost = to_instance("template", template, Template, "use Template.from_hash").cost
        costs = {"params": cost.params, "macs": cost.macs} | board_needs(template)
        is_small = all(costs[name] <= limit for name, limit in self._limits().items())
        return is_small and len(template.layers) - 1 <= self.length

    def describe_limits(self) -> str:
        """Returns the limits as text, such as "max_params 5,000 and max_macs 40,000"; empty where there is none."""
        given = {name: getattr(self, name) for name in LIMITS}
        return " and ".join(f"{name} {value:,}" for name, value in given.items() if value is not None)

    def _limits(self) -> dict[str, int]:
        """The highest cost, by name."""
        given = {cost: (getattr(self, name), unit) for name, (cost, unit) in LIMITS.items()}
        return {cost: value * unit for cost, (value, unit) in given.items() if value is not None}

    def encode(self, genomes: Int8[Array | np.ndarray, "n l 6"]) -> Float[Array, "n l f"]:
        """Returns what a predictor sees of genomes: each layer's bits and features; see `jnas.space.featurize`."""
        return featurize(check_genomes(genomes), self.in_shape, self.classes)

    crossover = staticmethod(operators.crossover)
    mutate = staticmethod(operators.mutate)
    distance = staticmethod(operators.distance)
    hash_genomes = staticmethod(operators.hash_genomes)


_valid = fast_compile_jit(Space.valid, static_argnums=0)
