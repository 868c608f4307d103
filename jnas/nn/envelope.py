"""Envelopes: sizes that many different templates fit under, so that all train as lanes of one program.

An envelope is a sequence of stages, each a convolution and the slots behind it, then hidden layers and the classifier,
everything with static maxima. A template's first convolution takes the first stage, and so on; one with fewer
convolutions leaves after its last, and does not pay for the room that later stages give their maps. Layers between
convolutions come in any order: merging two envelopes takes the shortest common supersequence of their slots, and a
lane leaves out what it does not have.

Here are shapes and costs only; `enveloped` has the modules.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jnas.space import Template
from jnas.space import _layers as lt

# A short ladder of sizes, so that envelopes recur from run to run and the compilation cache knows them.
SIDES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 20, 24, 28, 32, 34, 38)
KERNELS = (1, 2, 3, 4, 5, 7)
CHANNELS = (8, 16, 32, 64, 96, 128, 192)
FEATURES = (32, 64, 128, 256, 512, 1024, 2048, 4096)

Kind = Literal["activation", "norm", "pool"]


@dataclass(frozen=True)
class Slot:
    """Room for a layer behind a convolution.

    Attributes:
      kind: what may stand here.
      size: the side of the largest window; 1 where there are no windows.
      positions: pixels of the largest map behind it.
    """

    kind: Kind
    size: int
    positions: int


@dataclass(frozen=True)
class Stage:
    """Room for a convolution and what follows it.

    Attributes:
      size: the side of the largest window.
      positions, channels: of the largest map that the convolution makes.
      slots: what follows, in order.
    """

    size: int
    positions: int
    channels: int
    slots: tuple[Slot, ...] = ()

    @property
    def out_positions(self) -> int:
        """Pixels of the largest map behind the last slot."""
        return self.slots[-1].positions if self.slots else self.positions


@dataclass(frozen=True)
class Envelope:
    """Sizes that a program is compiled for.

    Attributes:
      in_shape, classes: of the images, (channels, height, width).
      stages: room for convolutions.
      positions, channels: of the largest map that is flattened.
      pooled: whether a lane may average over its whole map before.
      hidden: features of each hidden layer.
      bare: whether a lane may have no hidden layer.
    """

    in_shape: tuple[int, int, int]
    classes: int
    stages: tuple[Stage, ...]
    positions: int
    channels: int
    pooled: bool
    hidden: tuple[int, ...]
    bare: bool

    @property
    def features(self) -> int:
        """How many features the classifier sees at most."""
        return max((*self.hidden, self.positions * self.channels * self.bare))

    @functools.cached_property
    def inputs(self) -> tuple[tuple[int, int], ...]:
        """Positions and channels that go into each stage."""
        channels, height, width = self.in_shape
        return ((height * width, channels), *((stage.out_positions, stage.channels) for stage in self.stages[:-1]))


class Anatomy(NamedTuple):
    """Which layers of a template are what, as indices.

    Attributes:
      stages: each convolution and the layers behind it.
      pooled: the global pooling, if there is one.
      hidden: each hidden Linear, its activation and its dropout; None for what it lacks.
    """

    stages: tuple[tuple[int, ...], ...]
    pooled: int | None
    hidden: tuple[tuple[int, int | None, int | None], ...]


_KINDS: dict[type, Kind] = {lt.BatchNorm2d: "norm", lt.MaxPool2d: "pool", lt.AvgPool2d: "pool"}


def kind_of(layer: lt.LayerTemplate) -> Kind | None:
    """What kind of slot a layer takes; None where no slot takes it."""
    return "activation" if isinstance(layer, lt.Activation) else _KINDS.get(type(layer))


@functools.lru_cache(maxsize=4096)
def anatomy(template: Template) -> Anatomy | None:
    """A template's parts; None where it is not made of convolutions, then fully connected layers."""
    layers = list(enumerate(template.layers))
    flatten = next((i for i, layer in layers if isinstance(layer, lt.Flatten)), None)
    if flatten is None or not isinstance(template.layers[0], lt.Conv2d):
        return None
    front, back = layers[:flatten], layers[flatten + 1 : -1]
    pooled = front.pop()[0] if isinstance(front[-1][1], lt.GlobalAvgPool2d) else None
    stages: list[list[int]] = []
    for i, layer in front:
        if isinstance(layer, lt.Conv2d):
            stages.append([i])
        elif kind_of(layer):
            stages[-1].append(i)
        else:
            return None
    hidden: list[list[int | None]] = []
    for i, layer in back:
        if isinstance(layer, lt.Linear):
            hidden.append([i, None, None])
            continue
        # An activation is linear on either side of zero, so before or after dropout is the same.
        place = 1 if isinstance(layer, lt.Activation) else 2 if isinstance(layer, lt.Dropout) else None
        if not hidden or place is None or isinstance(layer, lt.Dropout2d) or hidden[-1][place] is not None:
            return None
        hidden[-1][place] = i
    return Anatomy(tuple(map(tuple, stages)), pooled, tuple(map(tuple, hidden)))


def envelope_of(template: Template) -> Envelope | None:
    """The smallest envelope that a template fits under, its sizes rounded up to the ladder.

    None where no envelope takes it: it does not begin with a convolution, or has dropout between convolutions, or a
    layer behind its global pooling.
    """
    parts = anatomy(template)
    if parts is None:
        return None
    stages = []
    for convolution, *others in parts.stages:
        channels, *sides = template.shapes[convolution]
        layer = template.layers[convolution]
        slots = []
        for i in others:
            size = _up(getattr(template.layers[i], "kernel_size", 1), KERNELS)
            slots.append(Slot(kind_of(template.layers[i]), size, _positions(template.shapes[i])))
        stages.append(
            Stage(_up(layer.kernel_size, KERNELS), _positions((1, *sides)), _up(channels, CHANNELS), (*slots,))
        )
    channels, *sides = template.shapes[parts.stages[-1][-1]]
    return Envelope(
        in_shape=template.in_shape,
        classes=template.classes,
        stages=tuple(stages),
        positions=1 if parts.pooled is not None else _positions((1, *sides)),
        channels=_up(channels, CHANNELS),
        pooled=parts.pooled is not None,
        hidden=tuple(_up(template.layers[linear].out_features, FEATURES) for linear, _, _ in parts.hidden),
        bare=not parts.hidden,
    )


def _up(value: int, ladder: tuple[int, ...]) -> int:
    return next((step for step in ladder if step >= value), value)


def _positions(shape: tuple[int, ...]) -> int:
    """Pixels of a map `(C, H, W)`, rounded up."""
    pixels = math.prod(shape[1:])
    return next((side**2 for side in SIDES if side**2 >= pixels), pixels)


def merged(one: Envelope, other: Envelope) -> Envelope:
    """The smallest envelope under which fits all that fits under either; both are for the same images."""
    pairs = itertools.zip_longest(one.stages, other.stages)
    return Envelope(
        in_shape=one.in_shape,
        classes=one.classes,
        stages=tuple(_merged_stages(a, b) if a and b else a or b for a, b in pairs),
        positions=max(one.positions, other.positions),
        channels=max(one.channels, other.channels),
        pooled=one.pooled or other.pooled,
        hidden=tuple(map(max, itertools.zip_longest(one.hidden, other.hidden, fillvalue=0))),
        bare=one.bare or other.bare,
    )


def _merged_stages(one: Stage, other: Stage) -> Stage:
    slots = []
    before = [one.positions, other.positions]
    for pair in _supersequence(one.slots, other.slots):
        # A lane of the stage without this slot passes through it as it is.
        before = [slot.positions if slot else positions for slot, positions in zip(pair, before, strict=True)]
        present = [slot for slot in pair if slot]
        slots.append(Slot(present[0].kind, max(slot.size for slot in present), max(before)))
    sizes = (max(getattr(one, name), getattr(other, name)) for name in ("size", "positions", "channels"))
    return Stage(*sizes, tuple(slots))


def _supersequence(one: tuple[Slot, ...], other: tuple[Slot, ...]) -> list[tuple[Slot | None, Slot | None]]:
    """The shortest sequence of slots that both are part of, each slot beside the one that takes it."""

    @functools.cache
    def shortest(i: int, j: int) -> tuple[tuple[Slot | None, Slot | None], ...]:
        if i == len(one) or j == len(other):
            return (*((slot, None) for slot in one[i:]), *((None, slot) for slot in other[j:]))
        if one[i].kind == other[j].kind:
            return ((one[i], other[j]), *shortest(i + 1, j + 1))
        return min(
            ((one[i], None), *shortest(i + 1, j)),
            ((None, other[j]), *shortest(i, j + 1)),
            key=len,
        )

    return list(shortest(0, 0))


class Place(NamedTuple):
    """Which layer of a template takes which room: indices, None where it leaves the room empty.

    Attributes:
      stages: for each stage the convolution's, and one for each slot; an empty list where the template has ended.
      hidden: for each hidden layer those of Linear, activation and dropout; all None where it has ended.
    """

    stages: tuple[tuple[int | None, ...], ...]
    hidden: tuple[tuple[int | None, int | None, int | None], ...]


def empty(envelope: Envelope) -> Place:
    """The place of nothing."""
    return Place(((),) * len(envelope.stages), ((None, None, None),) * len(envelope.hidden))


def place(template: Template, envelope: Envelope) -> Place | None:
    """Where the layers of a template go in an envelope; None where it does not fit."""
    own, parts = envelope_of(template), anatomy(template)
    if own is None or (own.in_shape, own.classes) != (envelope.in_shape, envelope.classes):
        return None
    small = (
        len(own.stages) <= len(envelope.stages)
        and len(own.hidden) <= len(envelope.hidden)
        and all(mine <= theirs for mine, theirs in zip(own.hidden, envelope.hidden, strict=False))
        and own.positions <= envelope.positions
        and own.channels <= envelope.channels
        and own.pooled <= envelope.pooled
        and own.bare <= envelope.bare
    )
    if not small:
        return None
    stages = []
    for mine, theirs, (convolution, *others) in zip(own.stages, envelope.stages, parts.stages, strict=False):
        if any(getattr(mine, name) > getattr(theirs, name) for name in ("size", "positions", "channels")):
            return None
        slots = _placed(mine.slots, theirs.slots, mine.positions)
        if slots is None:
            return None
        stages.append((convolution, *(None if i is None else others[i] for i in slots)))
    nothing = empty(envelope)
    return Place((*stages, *nothing.stages[len(stages) :]), (*parts.hidden, *nothing.hidden[len(parts.hidden) :]))


def _placed(own: tuple[Slot, ...], room: tuple[Slot, ...], before: int) -> tuple[int | None, ...] | None:
    """For each slot of `room`, which of `own` it takes, `before` being the positions that come in."""

    def fits(slot: Slot, there: Slot) -> bool:
        return slot.kind == there.kind and slot.size <= there.size and slot.positions <= there.positions

    def search(i: int, j: int, positions: int) -> tuple[int | None, ...] | None:
        if j == len(room):
            return () if i == len(own) else None
        if i < len(own) and fits(own[i], room[j]):
            rest = search(i + 1, j + 1, own[i].positions)
            if rest is not None:
                return (i, *rest)
        rest = search(i, j + 1, positions) if positions <= room[j].positions else None
        return None if rest is None else (None, *rest)

    return search(0, 0, before)
