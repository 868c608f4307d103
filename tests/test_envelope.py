"""Envelopes: which templates fit, and that each trains in one as it does alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jnas.nn import ragged
from jnas.nn.convolution import conv2d
from jnas.nn.envelope import envelope_of, kind_of, merged, place
from jnas.nn.lowering import Structure, lower
from jnas.nn.pooling import avg_pool, max_pool
from jnas.space import Space, Template
from jnas.space import layers as lt
from jnas.train.device import Device
from jnas.train.grouping import Workload, assign
from jnas.train.program import Hyper, Metrics, Program
from jnas.train.recipe import Recipe

SPACE = Space((3, 8, 8), 4, conv_num=4, lin_num=3)
# Not AdamW: it divides by the size of the gradient, so where that is small, rounding would grow to full steps.
BATCH = 6
RECIPE = Recipe(epochs=1, batch_size=BATCH, optimizer="sgd", learning_rate=1e-2)
STEPS = 20


def template(*layers):
    return Template([*layers, lt.Flatten(), lt.Linear(4)], (3, 8, 8))


def envelope_of_all(templates):
    return functools.reduce(merged, map(envelope_of, templates))


# Operations on run-time shapes, against those on static ones.


@st.composite
def windows(draw, sizes):
    size, stride = draw(st.sampled_from(sizes)), draw(st.integers(1, 4))
    pad = draw(st.sampled_from([0, size // 2]))
    least = max(1, size - 2 * pad)
    height, width = (draw(st.integers(least, 9)) for _ in range(2))
    out = [(n + 2 * pad - size) // stride + 1 for n in (height, width)]
    return ragged.Windows(*map(jnp.int32, (height, width, *out, size, stride, pad)))


def flattened(x, positions, fill=0.0):
    x = x.reshape(len(x), -1, x.shape[-1])
    return np.pad(x, ((0, 0), (0, positions - x.shape[1]), (0, 0)), constant_values=fill)


def compare(alone, ragged_operation, x, others, found, seed, extra=3):
    """An operation on a map and the ragged one on the same map with more positions: outputs and all gradients."""
    y, pull = jax.vjp(alone, x, *others)
    gradient = np.random.default_rng(seed).normal(size=y.shape).astype(np.float32)
    positions, out_positions = (shape[1] * shape[2] for shape in (x.shape, y.shape))
    # What is not there is anything finite, and must not be seen.
    wide = flattened(x, positions + extra, fill=7.0)
    ragged_y, ragged_pull = jax.vjp(ragged_operation, wide, *found)
    np.testing.assert_allclose(ragged_y[:, :out_positions].reshape(y.shape), y, atol=1e-5, rtol=1e-5)
    assert np.isfinite(ragged_y).all()
    wanted, got = pull(gradient), ragged_pull(flattened(gradient, ragged_y.shape[1]))
    np.testing.assert_allclose(got[0][:, :positions].reshape(x.shape), wanted[0], atol=1e-5, rtol=1e-5)
    assert not np.any(got[0][:, positions:])
    return wanted[1:], got[1:]


@given(windows(range(1, 8)), st.integers(0, 99))
@settings(max_examples=40)
def test_a_convolution_on_run_time_shapes_is_the_static_one(where, seed):
    height, width, *out, size, stride, pad = map(int, where)
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(2, height, width, 3)).astype(np.float32)
    kernel = generator.normal(size=(size, size, 3, 4)).astype(np.float32) / size
    most = ragged.Maxima(height * width + 3, out[0] * out[1] + 2, 7)
    wanted, got = compare(
        lambda x, kernel: conv2d(x, kernel, stride, pad),
        lambda x, kernel: ragged.conv(x, kernel, where, most),
        *(x, (kernel,), (np.pad(kernel, ((0, 7 - size), (0, 7 - size), (0, 0), (0, 0))),), seed),
    )
    np.testing.assert_allclose(got[0][:size, :size], wanted[0], atol=1e-4, rtol=1e-5)
    assert not np.any(got[0][size:]) and not np.any(got[0][:, size:])


@given(windows((2, 3, 4)), st.sampled_from(["maximum", "mean", "mean without padding"]), st.integers(0, 99))
@settings(max_examples=60)
def test_a_pooling_on_run_time_shapes_is_the_static_one(where, mode, seed):
    height, width, *out, size, stride, pad = map(int, where)
    x = np.random.default_rng(seed).integers(-2, 3, (2, height, width, 3)).astype(np.float32)  # with ties
    most = ragged.Maxima(height * width + 3, out[0] * out[1] + 2, 4)
    pooling = ragged.Pooling(*map(jnp.bool_, (mode == "maximum", mode == "mean")))
    static = {
        "maximum": lambda x: max_pool(x, size, stride, pad),
        "mean": lambda x: avg_pool(x, size, stride, pad, True),
        "mean without padding": lambda x: avg_pool(x, size, stride, pad, False),
    }[mode]
    compare(static, lambda x: ragged.pool(x, where, pooling, most), x, (), (), seed)


def test_a_training_step_in_an_envelope_scatters_nothing():
    structure, lane = lower(SPACE.random(1), "envelope")
    program = Program(structure, RECIPE)
    states = stacked([program.init(lane, seed) for seed in range(2)])
    metrics = Metrics(np.float32(0), np.int32(0))
    step = jax.vmap(program.step, (0, None, None, None, None, None))
    text = jax.jit(step).lower(states, metrics, hyper_of(0), *images(), np.float32(1)).as_text()
    assert "gather" in text and "stablehlo.convolution" not in text
    assert "scatter" not in text


# Which templates fit.


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_is_merged_into_an_envelope_fits_under_it(seeds):
    templates = [SPACE.random(seed) for seed in seeds]
    envelope = envelope_of_all(templates)
    for one in templates:
        found = place(one, envelope)
        taken = [i for stage in found.stages for i in stage if i is not None]
        taken += [i for layer in found.hidden for i in layer if i is not None]
        kinds = (lt.Conv2d, lt.Linear, lt.Activation, lt.BatchNorm2d, lt.MaxPool2d, lt.AvgPool2d, lt.Dropout)
        assert sorted(taken) == [i for i, layer in enumerate(one.layers[:-1]) if isinstance(layer, kinds)]
        for stage, room in zip(found.stages, envelope.stages, strict=True):
            for i, slot in zip(stage[1:], room.slots, strict=False):
                assert i is None or kind_of(one.layers[i]) == slot.kind
        mine = Structure(envelope_of(one), "envelope").footprint
        theirs = Structure(envelope, "envelope").footprint
        assert mine.macs <= theirs.macs and mine.params <= theirs.params and mine.maps <= theirs.maps
    assert merged(envelope, envelope_of(templates[0])) == envelope


def test_what_fits_no_envelope_is_lowered_exactly():
    for odd in (
        template(lt.MaxPool2d(2), lt.Conv2d(8)),
        template(lt.Conv2d(8), lt.Dropout2d(0.5)),
        template(lt.Conv2d(8), lt.GlobalAvgPool2d(), lt.BatchNorm2d()),
        Template([lt.Conv2d(8), lt.Flatten(), lt.PReLU(True), lt.Linear(4)], (3, 8, 8)),
    ):
        assert envelope_of(odd) is None
        assert lower(odd, "envelope")[0] == lower(odd, "exact")[0]
    small, large = template(lt.Conv2d(8, 3)), template(lt.Conv2d(64, 5))
    assert place(small, envelope_of(large)) and place(large, envelope_of(small)) is None
    with pytest.raises(Exception, match="is of another structure"):
        lower(small, "envelope")[0].lane(large)


# That a lane trains as its template does alone.

TEMPLATES = [SPACE.random(seed) for seed in range(200)]
GROUPS = assign(TEMPLATES, "envelope", Workload(BATCH, 0, Device.here()))


def images():
    generator = np.random.default_rng(0)
    return generator.normal(size=(BATCH, 8, 8, 3)).astype(np.float32), np.arange(BATCH, dtype=np.int32) % 4


def hyper_of(seed):
    """A seed and a learning rate of its own for each template."""
    return Hyper(np.uint32(seed), np.float32(3e-3 + 1e-4 * (seed % 50)), np.float32(1e-2))


def course(program, states, hypers):
    """20 steps on one batch: logits before and loss of each, and the states after the first and the last.

    `states` and `hypers` have a leading axis of lanes.
    """

    def step(state, hyper, images, labels):
        logits = program.merge(state)(images)
        state, metrics = program.step(
            state, Metrics(jnp.float32(0), jnp.int32(0)), hyper, images, labels, jnp.float32(1)
        )
        return state, metrics.loss, logits

    lanes = len(hypers.seed)
    if lanes == 1:  # not vmapped, so that the exact module's own operations count
        arrays, state, hyper = images(), *jax.tree.map(lambda leaf: leaf[0], (states, hypers))
    else:
        step, arrays, state, hyper = jax.vmap(step, (0, 0, None, None)), images(), states, hypers
    compiled = jax.jit(step).lower(state, hyper, *arrays).compile({"xla_backend_optimization_level": "0"})
    found = []
    for number in range(STEPS):
        state, loss, logits = compiled(state, hyper, *arrays)
        found.append((np.asarray(loss), np.asarray(logits)))
        if number == 0:
            first = state
    losses, logits = (np.stack(parts, -1).reshape(lanes, -1) for parts in zip(*found, strict=True))
    return (
        losses,
        logits,
        *(jax.tree.map(lambda leaf: leaf[None] if lanes == 1 else leaf, one) for one in (first, state)),
    )


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def train(structure, numbers):
    """The course of some of TEMPLATES in one program of a structure."""
    program = Program(structure, RECIPE)
    states = stacked([program.init(structure.lane(TEMPLATES[number]), number) for number in numbers])
    return course(program, states, stacked([hyper_of(number) for number in numbers]))


def weights(structure, lane, states, i):
    """A lane's trained weights and statistics in its template's own shapes."""
    module = lane.unfold(Program(structure, RECIPE).merge(jax.tree.map(lambda leaf: leaf[i], states)))
    return jax.tree.leaves(nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat)))


def test_the_templates_share_few_envelopes():
    assert sorted(i for group in GROUPS for i in group.members) == list(range(200))
    assert len(GROUPS) < 50 and all(group.structure.policy == "envelope" for group in GROUPS)


@pytest.mark.parametrize("part", range(20))
def test_a_lane_of_an_envelope_trains_as_its_template_does_alone(part):
    """Logits, gradients and 20 steps of 200 random templates in all."""
    for group in GROUPS[part::20]:
        together = train(group.structure, group.members)
        for i, number in enumerate(group.members):
            exact, lane = lower(TEMPLATES[number])
            alone = train(exact, [number])
            losses, logits = ([found[which][j] for found, j in ((together, i), (alone, 0))] for which in (0, 1))
            np.testing.assert_allclose(*losses, rtol=2e-3, atol=1e-4)
            np.testing.assert_allclose(*logits, rtol=1e-2, atol=1e-2)
            # Weights after one step, which are gradients, and after all of them.
            for when, tolerance in ((2, 1e-5), (3, 5e-3)):
                mine = weights(group.structure, group.structure.lane(TEMPLATES[number]), together[when], i)
                theirs = weights(exact, lane, alone[when], 0)
                for a, b in zip(mine, theirs, strict=True):
                    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_other_lanes_change_nothing():
    group = min((group for group in GROUPS if len(group.members) >= 4), key=lambda g: g.structure.footprint.params)
    members = group.members[:4]
    first = train(group.structure, members)
    for order in ([3, 1, 0, 2], [0, 2]):
        again = train(group.structure, [members[i] for i in order])
        for now, before in enumerate(order):
            for one, other in zip(first[:2], again[:2], strict=True):
                np.testing.assert_allclose(one[before], other[now], rtol=1e-5, atol=1e-6)
