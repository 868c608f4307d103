"""The space of random CNN templates, and its samplers.

The first generator is that of Sophius: one to `conv_num` convolution blocks (Conv2d, an activation, then with
probability one half each MaxPool2d, BatchNorm2d and AvgPool2d), with probability one half GlobalAvgPool2d, Flatten, up
to `lin_num - 1` hidden Linear layers (each with an activation and, with probability one half, Dropout), and the last
Linear. A layer that would leave no pixel is dropped and ends the convolution part.

The second, "modern", draws chains as plain networks are built since batch norm (Ioffe and Szegedy 2015; Springenberg et
al. 2015): each convolution is padded, mostly 3 by 3 with stride 1, then comes BatchNorm2d, an activation, and now and
then a MaxPool2d that halves the map; a global average mostly ends them. Its layers are among those of the first, so
vectors, hashes and genomes are the same, and evolution may go beyond what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jnas._runtime.compile_options import fast_compile_jit
from jnas._runtime.random import choices, draws
from jnas.errors import JnasError
from jnas.space import _layers as lt
from jnas.space._genome import CARDINALITY, COLUMN_OF_PARAMETER, COLUMNS, KIND, from_genome, kind_of
from jnas.space._packed_genome import compact, meaning, pack, unpack
from jnas.space._shape_inference import start, step
from jnas.space._template import Template

Style = Literal["sophius", "modern"]
ACTIVATIONS = tuple(kind_of(cls) for cls in (lt.ReLU, lt.LeakyReLU, lt.PReLU))
FLATTEN = kind_of(lt.Flatten)


@dataclass(frozen=True)
class Space:
    """What may be sampled.

    Args:
      in_shape: `(C, H, W)` of one image.
      classes: number of classes.
      conv_num: convolution layers, at most.
      lin_num: Linear layers, at most, the last one included.
      style: which random templates there are, see the module.
    """

    in_shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10
    conv_num: int = 6
    lin_num: int = 3
    style: Style = "sophius"

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_shape", tuple(int(n) for n in self.in_shape))
        for name, least in (("conv_num", 1), ("lin_num", 1), ("classes", 2)):
            value = getattr(self, name)
            if value < least:
                raise JnasError(f"{name}={value} makes no space: give at least {least}.")
        if self.style not in get_args(Style):
            raise JnasError(f"There is no style {self.style!r}: choose one of {', '.join(get_args(Style))}.")
        if len(self.in_shape) != 3 or min(self.in_shape) < 1:
            raise JnasError(f"in_shape={self.in_shape} is not (channels, height, width) with positive numbers.")

    @property
    def length(self) -> int:
        """Rows of a genome: the layers of the longest template, the last Linear left out."""
        return len(_slots(self))

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """`[count, length, 6]` int8 genomes of random templates, all of them valid; jitted, no loop in Python."""
        return _sample(self, key, count)

    def random(self, seed: int) -> Template:
        """One random template."""
        return self.template(self.sample(jax.random.key(seed), 1)[0])

    def template(self, genome: np.ndarray) -> Template:
        """The template of a genome `[length, 6]` of this space."""
        return from_genome(genome, self.in_shape, self.classes)


class Slot(NamedTuple):
    """A place in the generator, which a layer may take.

    Attributes:
      layer: its type; None for any activation.
      chance: with which it is there.
      conv, linear: how many convolutions, or hidden Linear layers, there must be for it; 0 where it does not matter.
      values: what parameters are drawn from, where it is not all of their values; what comes twice is twice as likely.
    """

    layer: type[lt.LayerTemplate] | None
    chance: float = 1.0
    conv: int = 0
    linear: int = 0
    values: dict[str, tuple] = {}  # noqa: RUF012  a constant


def _slots(space: Space) -> list[Slot]:
    """The generator, in the order of the layers."""
    return {"sophius": _sophius, "modern": _modern}[space.style](space.conv_num, space.lin_num)


def _sophius(conv_num: int, lin_num: int) -> list[Slot]:
    slots = []
    for i in range(1, conv_num + 1):
        slots += [Slot(lt.Conv2d, conv=i), Slot(None, conv=i)]
        slots += [Slot(layer, 0.5, conv=i) for layer in (lt.MaxPool2d, lt.BatchNorm2d, lt.AvgPool2d)]
    slots += [Slot(lt.GlobalAvgPool2d, 0.5), Slot(lt.Flatten)]
    for i in range(1, lin_num):
        slots += [Slot(lt.Linear, linear=i), Slot(None, linear=i), Slot(lt.Dropout, 0.5, linear=i)]
    return slots


def _modern(conv_num: int, lin_num: int) -> list[Slot]:
    kernel = {"out_channels": (32, 64, 64, 96, 128, 128, 192), "kernel_size": (3, 3, 3, 5, 1)}
    kernel |= {"stride": (1, 1, 1, 1, 1, 2), "padding": (True,)}
    pool = {"kernel_size": (2,), "stride": (2,), "padding": (False,)}
    slots = []
    for i in range(1, conv_num + 1):
        slots += [Slot(lt.Conv2d, conv=i, values=kernel), Slot(lt.BatchNorm2d, conv=i), Slot(None, conv=i)]
        slots += [Slot(lt.MaxPool2d, 0.35, conv=i, values=pool)]
    slots += [Slot(lt.GlobalAvgPool2d, 0.75), Slot(lt.Flatten)]
    for i in range(1, lin_num):
        slots += [Slot(lt.Linear, linear=i, values={"out_features": (64, 128, 256, 512)}), Slot(None, linear=i)]
        slots += [Slot(lt.Dropout, 0.5, linear=i, values={"p": (0.1, 0.2, 0.3, 0.5)})]
    return slots


def _restricted(slots: list[Slot]) -> tuple[np.ndarray, np.ndarray]:
    """What slots draw from: `[slots, columns]` how many values (0: all of the kind's), `[slots, columns, N]` which."""
    most = max((len(values) for slot in slots for values in slot.values.values()), default=1)
    counts, indices = np.zeros((len(slots), COLUMNS), np.int32), np.zeros((len(slots), COLUMNS, most), np.int32)
    for i, slot in enumerate(slots):
        for name, values in slot.values.items():
            every = dict(slot.layer.ranges())[name]
            counts[i, COLUMN_OF_PARAMETER[name]] = len(values)
            indices[i, COLUMN_OF_PARAMETER[name], : len(values)] = [every.index(value) for value in values]
    return counts, indices


def random_parameters(key: jax.Array, kind: jax.Array) -> jax.Array:
    """Rows `[N, 6]` int8 of the given kinds `[N]`, each parameter uniform over its values."""
    cardinality = jnp.asarray(CARDINALITY)[kind]
    rows = choices(key, cardinality)
    return rows.at[..., KIND].set(kind).astype(jnp.int8)


@fast_compile_jit(static_argnames=("space", "count"))
def _sample(space: Space, key: jax.Array, count: int) -> jax.Array:
    slots = _slots(space)
    kinds = np.array([kind_of(slot.layer) if slot.layer else 0 for slot in slots])
    chances, least_convs, least_linears = (np.array([slot[i] for slot in slots]) for i in (1, 2, 3))
    restricted, indices = _restricted(slots)

    def one(key):
        kind_key, there_key, parameter_key, conv_key, linear_key = jax.random.split(key, 5)
        activation = jnp.asarray(ACTIVATIONS)[choices(kind_key, np.full(kinds.shape, len(ACTIVATIONS)))]
        rows = random_parameters(parameter_key, jnp.where(kinds == 0, activation, kinds))
        if restricted.any():
            place = choices(jax.random.fold_in(parameter_key, 1), np.maximum(restricted, 1))
            drawn = jnp.take_along_axis(jnp.asarray(indices), place[..., None].astype(jnp.int32), -1)[..., 0]
            rows = jnp.where(restricted > 0, drawn, rows).astype(jnp.int8)
        convs = jax.random.randint(conv_key, (), 1, space.conv_num + 1)
        hidden = jax.random.randint(linear_key, (), 0, space.lin_num)
        there = (draws(there_key, kinds.shape) < chances * 2**16) & (least_convs <= convs) & (least_linears <= hidden)

        def body(carry, slot):
            state, ended = carry
            row, layer, there, in_conv_part = slot
            out, fits = step(state, layer)
            there = there & ~(ended & in_conv_part)
            keep = there & fits
            state = jax.tree.map(lambda new, old: jnp.where(keep, new, old), out, state)
            return (state, ended | (there & ~fits)), jnp.where(keep, row, 0)

        packed = pack(rows)
        layers = (packed, meaning(packed), there, jnp.asarray(least_convs > 0))
        _, kept = jax.lax.scan(body, (start(space.in_shape), jnp.bool_(False)), layers)
        return unpack(compact(kept))

    return jax.vmap(one)(jax.random.split(key, count))
