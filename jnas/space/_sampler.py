"""The generators of random templates.

A template is one to `conv_num` convolution blocks, perhaps GlobalAvgPool2d, Flatten, up to `lin_num - 1` hidden Linear
blocks, and the last Linear. A layer that would leave no pixel is dropped and ends the convolution part. The style
"sophius" is the generator of Sophius; "modern" draws chains as plain networks are built since batch norm (Ioffe and
Szegedy 2015, arXiv:1502.03167; Springenberg et al. 2015, arXiv:1412.6806), mostly of padded 3x3 convolutions.
"""

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
    """A position in the generator that a layer may take."""

    layer: type[lt.LayerTemplate] | None  # None for any activation
    probability: float = 1.0  # of the layer being there
    conv: int = 0  # the number of the convolution block, from 1; 0 outside of the convolution part
    linear: int = 0  # the number of the hidden Linear block, from 1; 0 elsewhere
    values: dict[str, tuple] = {}  # noqa: RUF012  what parameters are drawn from, if not from all their values


_MODERN_CONV = {
    "out_channels": (32, 64, 64, 96, 128, 128, 192),
    "kernel_size": (3, 3, 3, 5, 1),
    "stride": (1, 1, 1, 1, 1, 2),
    "padding": (True,),
}
_HALVING = {"kernel_size": (2,), "stride": (2,), "padding": (False,)}
_CONV_BLOCK = {
    "sophius": [
        *(GrammarSlot(lt.Conv2d), GrammarSlot(None)),
        *(GrammarSlot(layer, 0.5) for layer in (lt.MaxPool2d, lt.BatchNorm2d, lt.AvgPool2d)),
    ],
    "modern": [
        *(GrammarSlot(lt.Conv2d, values=_MODERN_CONV), GrammarSlot(lt.BatchNorm2d), GrammarSlot(None)),
        GrammarSlot(lt.MaxPool2d, 0.35, values=_HALVING),
    ],
}
_GLOBAL_POOL = {"sophius": GrammarSlot(lt.GlobalAvgPool2d, 0.5), "modern": GrammarSlot(lt.GlobalAvgPool2d, 0.75)}
_LINEAR_BLOCK = {
    "sophius": [GrammarSlot(lt.Linear), GrammarSlot(None), GrammarSlot(lt.Dropout, 0.5)],
    "modern": [
        *(GrammarSlot(lt.Linear, values={"out_features": (64, 128, 256, 512)}), GrammarSlot(None)),
        GrammarSlot(lt.Dropout, 0.5, values={"p": (0.1, 0.2, 0.3, 0.5)}),
    ],
}


def grammar(style: Style, conv_num: int, lin_num: int) -> list[GrammarSlot]:
    """Returns the slots of a generator, in the order of the layers."""
    convs = [slot._replace(conv=i) for i in range(1, conv_num + 1) for slot in _CONV_BLOCK[style]]
    linears = [slot._replace(linear=i) for i in range(1, lin_num) for slot in _LINEAR_BLOCK[style]]
    return [*convs, _GLOBAL_POOL[style], GrammarSlot(lt.Flatten), *linears]


def _value_tables(slots: list[GrammarSlot]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[slots, fields]` numbers of values to draw from (0: all the type's), `[slots, fields, N]` indices."""
    largest = max((len(values) for slot in slots for values in slot.values.values()), default=1)
    counts = np.zeros((len(slots), NUM_FIELDS), np.int32)
    indices = np.zeros((len(slots), NUM_FIELDS, largest), np.int32)
    for i, slot in enumerate(slots):
        for name, values in slot.values.items():
            assert slot.layer, "any activation has all its values"
            all_values = slot.layer.parameter_values()[name]
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
        activations = jnp.asarray(ACTIVATIONS)[choices(type_key, jnp.full(slot_types.shape, len(ACTIVATIONS)))]
        types = jnp.where(slot_types == 0, activations, slot_types)
        rows = choices(parameter_key, jnp.asarray(NUM_VALUES)[types]).at[..., LAYER_TYPE].set(types).astype(jnp.int8)
        if value_counts.any():
            index = choices(jax.random.fold_in(parameter_key, 1), jnp.maximum(value_counts, 1))
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
