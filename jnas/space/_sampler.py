"""The generators of random templates.

"sophius" is the generator of Sophius: one to `conv_num` convolution blocks (Conv2d, an activation, then with
probability 1/2 each MaxPool2d, BatchNorm2d and AvgPool2d), with probability 1/2 GlobalAvgPool2d, Flatten, up to
`lin_num - 1` hidden Linear layers (each with an activation and, with probability 1/2, Dropout), and the last Linear. A
layer that would leave no pixel is dropped and ends the convolution part.

"modern" draws chains as plain networks are built since batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167;
Springenberg et al. 2015, arXiv:1412.6806): each convolution is padded, mostly 3x3 with stride 1, followed by
BatchNorm2d, an activation, and sometimes a MaxPool2d that halves the map; a global average usually ends them. Both
draw from the same twelve layer templates, so vectors, hashes and genomes are the same.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8

from jnas._runtime.compile_options import fast_compile_jit
from jnas._runtime.random import choices, draws
from jnas.space import _layers as lt
from jnas.space._genome import FIELD_INDEX, LAYER_TYPE, NUM_FIELDS, NUM_VALUES, layer_type_id
from jnas.space._packed_genome import decode, left_align, pack, unpack
from jnas.space._shape_inference import initial_state, propagate

Style = Literal["sophius", "modern"]
ACTIVATIONS = tuple(layer_type_id(cls) for cls in (lt.ReLU, lt.LeakyReLU, lt.PReLU))


class GrammarSlot(NamedTuple):
    """A position in the generator that a layer may take.

    Attributes:
      layer: its type; None for any activation.
      probability: of the layer being there.
      conv: the number of the convolution block, from 1; 0 outside of the convolution part.
      linear: the number of the hidden Linear block, from 1; 0 elsewhere.
      values: the values that parameters are drawn from, if not from all; a value given twice is twice as likely.
    """

    layer: type[lt.LayerTemplate] | None
    probability: float = 1.0
    conv: int = 0
    linear: int = 0
    values: dict[str, tuple] = {}  # noqa: RUF012  a constant


def grammar(style: Style, conv_num: int, lin_num: int) -> list[GrammarSlot]:
    """Returns the slots of a generator, in the order of the layers."""
    return _sophius(conv_num, lin_num) if style == "sophius" else _modern(conv_num, lin_num)


def _sophius(conv_num: int, lin_num: int) -> list[GrammarSlot]:
    slots = []
    for i in range(1, conv_num + 1):
        slots += [GrammarSlot(lt.Conv2d, conv=i), GrammarSlot(None, conv=i)]
        slots += [GrammarSlot(layer, 0.5, conv=i) for layer in (lt.MaxPool2d, lt.BatchNorm2d, lt.AvgPool2d)]
    slots += [GrammarSlot(lt.GlobalAvgPool2d, 0.5), GrammarSlot(lt.Flatten)]
    for i in range(1, lin_num):
        slots += [GrammarSlot(lt.Linear, linear=i), GrammarSlot(None, linear=i), GrammarSlot(lt.Dropout, 0.5, linear=i)]
    return slots


def _modern(conv_num: int, lin_num: int) -> list[GrammarSlot]:
    conv = {"out_channels": (32, 64, 64, 96, 128, 128, 192), "kernel_size": (3, 3, 3, 5, 1)}
    conv |= {"stride": (1, 1, 1, 1, 1, 2), "padding": (True,)}
    pool = {"kernel_size": (2,), "stride": (2,), "padding": (False,)}
    slots = []
    for i in range(1, conv_num + 1):
        slots += [GrammarSlot(lt.Conv2d, conv=i, values=conv), GrammarSlot(lt.BatchNorm2d, conv=i)]
        slots += [GrammarSlot(None, conv=i), GrammarSlot(lt.MaxPool2d, 0.35, conv=i, values=pool)]
    slots += [GrammarSlot(lt.GlobalAvgPool2d, 0.75), GrammarSlot(lt.Flatten)]
    for i in range(1, lin_num):
        slots += [GrammarSlot(lt.Linear, linear=i, values={"out_features": (64, 128, 256, 512)})]
        slots += [
            GrammarSlot(None, linear=i),
            GrammarSlot(lt.Dropout, 0.5, linear=i, values={"p": (0.1, 0.2, 0.3, 0.5)}),
        ]
    return slots


def _value_tables(slots: list[GrammarSlot]) -> tuple[np.ndarray, np.ndarray]:
    """Returns what slots draw from: `[slots, fields]` the number of values (0 for all of the type's), and
    `[slots, fields, N]` their indices."""
    largest = max((len(values) for slot in slots for values in slot.values.values()), default=1)
    counts = np.zeros((len(slots), NUM_FIELDS), np.int32)
    indices = np.zeros((len(slots), NUM_FIELDS, largest), np.int32)
    for i, slot in enumerate(slots):
        for name, values in slot.values.items():
            all_values = dict(slot.layer.parameter_values())[name] if slot.layer else ()
            counts[i, FIELD_INDEX[name]] = len(values)
            indices[i, FIELD_INDEX[name], : len(values)] = [all_values.index(value) for value in values]
    return counts, indices


@fast_compile_jit(static_argnames=("count", "in_shape", "style", "conv_num", "lin_num"))
def sample_genomes(
    key: jax.Array, count: int, in_shape: tuple[int, int, int], style: Style, conv_num: int, lin_num: int
) -> Int8[Array, "{count} l 6"]:
    """Returns genomes of random templates, all of them valid; see `Space.sample`."""
    slots = grammar(style, conv_num, lin_num)
    slot_types = np.array([layer_type_id(slot.layer) if slot.layer else 0 for slot in slots])
    probabilities, conv_blocks, linear_blocks = (np.array([slot[i] for slot in slots]) for i in (1, 2, 3))
    value_counts, value_indices = _value_tables(slots)

    def sample_one(key):
        type_key, presence_key, parameter_key, conv_key, linear_key = jax.random.split(key, 5)
        activations = jnp.asarray(ACTIVATIONS)[choices(type_key, np.full(slot_types.shape, len(ACTIVATIONS)))]
        types = jnp.where(slot_types == 0, activations, slot_types)
        rows = choices(parameter_key, jnp.asarray(NUM_VALUES)[types]).at[..., LAYER_TYPE].set(types).astype(jnp.int8)
        if value_counts.any():
            index = choices(jax.random.fold_in(parameter_key, 1), np.maximum(value_counts, 1))
            drawn = jnp.take_along_axis(jnp.asarray(value_indices), index[..., None].astype(jnp.int32), -1)[..., 0]
            rows = jnp.where(value_counts > 0, drawn, rows).astype(jnp.int8)
        num_convs = jax.random.randint(conv_key, (), 1, conv_num + 1)
        num_hidden = jax.random.randint(linear_key, (), 0, lin_num)
        is_present = draws(presence_key, slot_types.shape) < probabilities * 2**16
        is_present &= (conv_blocks <= num_convs) & (linear_blocks <= num_hidden)

        def body(carry, slot):
            state, conv_part_ended = carry
            row, layer, is_present, in_conv_part = slot
            out, fits = propagate(state, layer)
            is_present = is_present & ~(conv_part_ended & in_conv_part)
            is_kept = is_present & fits
            state = jax.tree.map(lambda new, old: jnp.where(is_kept, new, old), out, state)
            return (state, conv_part_ended | (is_present & ~fits)), jnp.where(is_kept, row, 0)

        packed = pack(rows)
        inputs = (packed, decode(packed), is_present, jnp.asarray(conv_blocks > 0))
        _, kept_rows = jax.lax.scan(body, (initial_state(in_shape), jnp.bool_(False)), inputs)
        return unpack(left_align(kept_rows))

    return jax.vmap(sample_one)(jax.random.split(key, count))
