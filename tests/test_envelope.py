"""Envelopes: which templates fit, and that each trains in one as it does alone."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from jnas._runtime.compile_options import known_options
from jnas.nn import ragged
from jnas.nn._signature import Structure, lower
from jnas.nn.envelope import envelope_of, kind_of, merged, place
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.train._engine.bucketing import Workload, assign
from jnas.train._engine.memory_plan import Device
from jnas.train._recipe import Recipe
from jnas.train._step import Hyper, Metrics, Program

SPACE = Space((3, 8, 8), 4, conv_num=3, lin_num=3)
# Not AdamW: it divides by the size of the gradient, so where that is small, rounding would grow to full steps.
BATCH = 6
RECIPE = Recipe(epochs=1, batch_size=BATCH, optimizer="sgd", learning_rate=1e-2)
STEPS = 20


def template(*layers):
    return Template([*layers, lt.Flatten(), lt.Linear(4)], (3, 8, 8))


def envelope_of_all(templates):
    return functools.reduce(merged, map(envelope_of, templates))


# Operations on run-time shapes. One program serves all examples; what is right is counted pixel by pixel.

MOST = {size: ragged.Maxima.square(90, 90, size) for size in (4, 7)}
SIDE = 9


@st.composite
def geometries(draw, sizes):
    """Height, width, their outputs, window, stride, padding."""
    size, stride = draw(st.sampled_from(sizes)), draw(st.integers(1, 4))
    pad = draw(st.sampled_from([0, size // 2]))
    height, width = (draw(st.integers(max(1, size - 2 * pad), SIDE)) for _ in range(2))
    out = [min((n + 2 * pad - size) // stride + 1, SIDE) for n in (height, width)]
    return height, width, *out, size, stride, pad


def taps(geometry):
    """For each output pixel, the pixels that it sees, each with its tap: positions in flattened maps."""
    height, width, out_height, out_width, size, stride, pad = geometry
    for row, column in itertools.product(range(out_height), range(out_width)):
        seen = []
        for i, j in itertools.product(range(size), range(size)):
            y, x = row * stride + i - pad, column * stride + j - pad
            if 0 <= y < height and 0 <= x < width:
                seen.append((y * width + x, (i, j)))
        yield row * out_width + column, seen


@jax.jit
def convolve(x, kernel, where, gradient):
    y, pull = jax.vjp(lambda x, kernel: ragged.conv(x, kernel, where, MOST[7]), x, kernel)
    return y, *pull(gradient)


@jax.jit
def pool(x, where, pooling, gradient):
    y, pull = jax.vjp(lambda x: ragged.pool(x, where, pooling, MOST[4]), x)
    return y, *pull(gradient)


def as_windows(geometry):
    return ragged.Windows.square(*map(np.int32, geometry))


@given(geometries(range(1, 8)), st.integers(0, 99))
@settings(max_examples=60)
def test_a_convolution_on_run_time_shapes(geometry, seed):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(2, 90, 3)).astype(np.float32)  # what lies behind the map must not be seen
    kernel = generator.normal(size=(7, 7, 3, 4)).astype(np.float32) / 7
    gradient = np.zeros((2, 90, 4), np.float32)
    pixels = geometry[2] * geometry[3]
    gradient[:, :pixels] = generator.normal(size=(2, pixels, 4))
    wanted = np.zeros((2, 90, 4)), np.zeros(x.shape), np.zeros(kernel.shape)
    for out, seen in taps(geometry):
        for pixel, tap in seen:
            wanted[0][:, out] += x[:, pixel] @ kernel[tap]
            wanted[1][:, pixel] += gradient[:, out] @ kernel[tap].T
            wanted[2][tap] += x[:, pixel].T @ gradient[:, out]
    for one, other in zip(convolve(x, kernel, as_windows(geometry), gradient), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1, np.abs(other).max()))


@given(geometries((1, 2, 3, 4)), st.sampled_from(["maximum", "mean", "mean without padding"]), st.integers(0, 99))
@settings(max_examples=90)
def test_a_pooling_on_run_time_shapes(geometry, mode, seed):
    generator = np.random.default_rng(seed)
    x = generator.integers(-2, 3, (2, 90, 3)).astype(np.float32)  # with ties, of which the first counts
    gradient = np.zeros((2, 90, 3), np.float32)
    pixels = geometry[2] * geometry[3]
    gradient[:, :pixels] = generator.normal(size=(2, pixels, 3))
    wanted = np.zeros(x.shape), np.zeros(x.shape)
    for out, seen in taps(geometry):
        if not seen:
            continue
        places = np.array([pixel for pixel, _ in seen])
        if mode == "maximum":
            winner = places[x[:, places].argmax(1)]
            for n, channel in itertools.product(range(2), range(3)):
                wanted[0][n, out, channel] = x[n, winner[n, channel], channel]
                wanted[1][n, winner[n, channel], channel] += gradient[n, out, channel]
        else:
            divisor = geometry[4] ** 2 if mode == "mean" else len(places)
            wanted[0][:, out] = x[:, places].sum(1) / divisor
            np.add.at(wanted[1], (slice(None), places), gradient[:, out][:, None] / divisor)
    pooling = ragged.Pooling(np.bool_(mode == "maximum"), np.bool_(mode == "mean"))
    for one, other in zip(pool(x, as_windows(geometry), pooling, gradient), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


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

COUNT = 200
SPACES = [Space((3, 8, 8), 4, conv_num=most, lin_num=1 + most // 2) for most in (1, 1, 1, 1, 2, 2, 2, 2, 2, 3)]
TEMPLATES = [SPACES[seed % 10].random(seed) for seed in range(COUNT)]
# A few large ones: it is compiling that takes long.
GROUPS = assign(TEMPLATES, "envelope", Workload(BATCH, 0, Device.here()), most_padding=8)


def images():
    generator = np.random.default_rng(0)
    return generator.normal(size=(BATCH, 8, 8, 3)).astype(np.float32), np.arange(BATCH, dtype=np.int32) % 4


def hyper_of(seed):
    """A seed and a learning rate of its own for each template."""
    return Hyper(np.uint32(seed), np.float32(3e-3 + 1e-4 * (seed % 50)), np.float32(1e-2))


# Compiling is what takes long here: the older emitters take a quarter of the time for a module alone, at a level that
# would make an envelope's steps up to fifty times as slow.
QUICK = {"xla_cpu_use_fusion_emitters": False}
ALONE, TOGETHER = (known_options(QUICK | {"xla_backend_optimization_level": level}) for level in ("0", "1"))


def course(program, states, hypers):
    """20 steps on one batch: logits before and loss of each, and the states at first, after one step, and at last.

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
        state, hyper = jax.tree.map(lambda leaf: leaf[0], (states, hypers))
    else:
        step, state, hyper = jax.vmap(step, (0, 0, None, None)), states, hypers
    options = ALONE if program.structure.policy == "exact" else TOGETHER
    compiled = jax.jit(step).lower(state, hyper, *images()).compile(options)
    found, start, first = [], state, None
    for _ in range(STEPS):
        state, loss, logits = compiled(state, hyper, *images())
        found.append((np.asarray(loss), np.asarray(logits)))
        first = first or state
    losses, logits = (np.stack(parts, -1).reshape(lanes, -1) for parts in zip(*found, strict=True))
    return losses, logits, (start, first, state)


def stacked(trees):
    """On the host, so that nothing is compiled for it."""

    def stack(*leaves):
        keys = jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key)
        return jnp.stack(leaves) if keys else np.stack(list(map(np.asarray, leaves)))

    return jax.tree.map(stack, *trees)


def train(structure, numbers):
    """The course of some of TEMPLATES in one program of a structure."""
    program = Program(structure, RECIPE)
    states = stacked([program.init(structure.lane(TEMPLATES[number]), number) for number in numbers])
    return course(program, states, stacked([hyper_of(number) for number in numbers]))


def weights(structure, lane, states, i=None):
    """A lane's trained weights and statistics in its template's own shapes."""

    def own(leaf):
        if i is None or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return np.asarray(leaf)[i]

    module = lane.unfold(Program(structure, RECIPE).merge(jax.tree.map(own, states)))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat)))]


def test_the_templates_share_few_envelopes():
    assert sorted(i for group in GROUPS for i in group.members) == list(range(COUNT))
    assert 10 <= len(GROUPS) < 20 and all(group.structure.policy == "envelope" for group in GROUPS)


@pytest.mark.parametrize("part", range(10))
def test_a_lane_of_an_envelope_trains_as_its_template_does_alone(part):
    """Logits, gradients and 20 steps of COUNT random templates in all."""
    for group in GROUPS[part::10]:
        together = train(group.structure, group.members)
        for i, number in enumerate(group.members):
            exact, lane = lower(TEMPLATES[number])
            alone = train(exact, [number])
            losses, logits = ((together[which][i], alone[which][0]) for which in (0, 1))
            np.testing.assert_allclose(*losses, rtol=2e-3, atol=1e-4)
            np.testing.assert_allclose(*logits, rtol=1e-2, atol=1e-2)
            own = group.structure.lane(TEMPLATES[number])
            index = i if len(group.members) > 1 else None
            mine = [weights(group.structure, own, state, index) for state in together[2]]
            theirs = [weights(exact, lane, state) for state in alone[2]]
            # By how far each array moved: in the first step, by its gradient. Not number by number, as rounding may
            # decide otherwise which of two nearly equal pixels a pooling takes.
            for when, tolerance in ((1, 2e-3), (2, 2e-2)):
                for start, first, a, b in zip(theirs[0], mine[0], mine[when], theirs[when], strict=True):
                    np.testing.assert_array_equal(first, start)
                    moved = np.linalg.norm(b - start)
                    assert np.linalg.norm(a - b) <= tolerance * moved + 2e-7 * (1 + np.linalg.norm(start))


def test_other_lanes_change_nothing():
    group = min((group for group in GROUPS if len(group.members) >= 4), key=lambda g: g.structure.footprint.params)
    members = group.members[:4]
    first = train(group.structure, members)
    for order in ([3, 1, 0, 2], [0, 2]):
        again = train(group.structure, [members[i] for i in order])
        for now, before in enumerate(order):
            for one, other in zip(first[:2], again[:2], strict=True):
                np.testing.assert_allclose(one[before], other[now], rtol=1e-5, atol=1e-6)
