"""Which trials train in which program: the engine's choice, by the seconds that it expects.

The objective is the wall clock: seconds to compile each program, shared out over the compiling threads, and seconds to
train all lanes of it. Sharing an envelope saves compiling and adds padding, in arithmetic and in bytes. Groups are
merged greedily, the pair that saves most first, until no pair saves anything (agglomerative clustering with that
objective in place of a distance).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from jnas.nn._signature import Policy, Structure, check_policy, lower
from jnas.nn.envelope import Envelope, merged, place
from jnas.space import Template
from jnas.train._engine.memory_plan import Device, compile_seconds, memory_of, plan, step_seconds

_SHARING = 4
"""Templates that share a new envelope, of a random population."""
MOST_PADDING = 3.0
"""How many times the true arithmetic envelopes take at most: the model of a device may be off."""


@dataclass(frozen=True)
class Workload:
    """What every template of a population is put through.

    Attributes:
      batch_size: images a step.
      steps: of training, each.
      device: what the seconds are for.
    """

    batch_size: int
    steps: int
    device: Device


@dataclass(frozen=True)
class Assignment:
    """Trials that share a program.

    Attributes:
      structure: of the program.
      members: which trials, as indices.
      width: lanes side by side; 0 where not even one fits into memory.
      compile_seconds, train_seconds: what the cost model expects, all lanes together.
    """

    structure: Structure
    members: tuple[int, ...]
    width: int
    compile_seconds: float
    train_seconds: float

    @property
    def seconds(self) -> float:
        return self.compile_seconds + self.train_seconds


def assign(
    templates: Sequence[Template],
    policy: Policy,
    load: Workload,
    *,
    known: Iterable[tuple[Envelope, int]] = (),
    most_padding: float = MOST_PADDING,
) -> list[Assignment]:
    """A program for each template of a population.

    Args:
      templates: the population; one that is there twice is two lanes.
      policy: see `jnas.nn._signature`. "auto" takes for each group whichever of the others is expected to be fastest.
      load: what they are put through.
      known: envelopes that were compiled before, each with its lanes side by side; one is taken in place of a new one
        where that saves time.
      most_padding: how many times the true arithmetic the envelopes take at most, all together.

    Returns:
      The groups, in the order in which their first templates come.

    Raises:
      JnasError: there is no such policy.
    """
    check_policy(policy)
    found: dict[Structure, list[int]] = {}
    lowered = "envelope" if policy == "auto" else policy
    for index, template in enumerate(templates):
        found.setdefault(lower(template, lowered)[0], []).append(index)
    groups = [expect(structure, members, load) for structure, members in found.items()]
    if policy in ("envelope", "auto"):
        loose = [group for group in groups if isinstance(group.structure.hull, Envelope)]
        groups = [group for group in groups if not isinstance(group.structure.hull, Envelope)]
        taken, loose = _recognised(loose, templates, load, list(known), most_padding)
        own = functools.partial(_own_programs, templates, load)
        # Merging is greedy: from envelopes alone it finds large groups, to which no two templates would begin that may
        # stay by themselves.
        ways = [taken + _merged(loose, templates, load, None, most_padding)]
        if policy == "auto":
            ways.append(taken + _merged(loose, templates, load, own, most_padding))
        choices = [[best for group in way for best in _best(group, own, policy == "auto")] for way in ways]
        groups += min(choices, key=_seconds)
    return sorted(groups, key=lambda group: group.members[0])


def _merged(loose: list[Assignment], templates, load: Workload, alone: Callable | None, most_padding: float) -> list:
    """`_merge` for each shape of image and number of classes."""
    images = dict.fromkeys((group.structure.hull.in_shape, group.structure.hull.classes) for group in loose)
    found = []
    for image in images:
        same = [g for g in loose if (g.structure.hull.in_shape, g.structure.hull.classes) == image]
        found += _merge(same, templates, load, alone, most_padding)
    return found


def _best(group: Assignment, own: Callable[[Sequence[int]], list[Assignment]], free: bool) -> list[Assignment]:
    """The group, or its members' own programs where these are faster and it is `free` to choose them."""
    choices = [[group]]
    if free or not np.isfinite(group.seconds):  # too large for an envelope may fit without patches
        choices.insert(0, own(group.members))
    return min(choices, key=_seconds)


def expect(structure: Structure, members: Sequence[int], load: Workload) -> Assignment:
    """Trials in one program, with the seconds that the cost model expects."""
    chosen = plan(structure, load.batch_size, len(members), load.device)
    # Where not even one lane fits, the group will say so; here it only must not look attractive.
    seconds = load.steps * chosen.seconds if chosen else float("inf")
    cost = structure.footprint
    compiling = compile_seconds(cost.layers, load.device, envelope=cost.gathers)
    return Assignment(structure, tuple(members), chosen.width if chosen else 0, float(compiling), float(seconds))


def _own_programs(templates: Sequence[Template], load: Workload, members: Sequence[int]) -> list[Assignment]:
    """The faster of the policies that merge nothing."""
    choices = []
    for policy in ("exact", "folded"):
        found: dict[Structure, list[int]] = {}
        for index in members:
            found.setdefault(lower(templates[index], policy)[0], []).append(index)
        choices.append([expect(structure, own, load) for structure, own in found.items()])
    return min(choices, key=_seconds)


def _seconds(groups: list[Assignment]) -> float:
    return sum(group.seconds for group in groups)


def _recognised(
    groups: list[Assignment],
    templates: Sequence[Template],
    load: Workload,
    known: list[tuple[Envelope, int]],
    most_padding: float,
) -> tuple[list[Assignment], list[Assignment]]:
    """The groups whose programs are in the cache, at little cost in padding, and the groups that are left."""
    offers: dict[Structure, list[Assignment]] = {}
    left = []
    for group in groups:
        # What it would pay for a program of its own, or for its share of a new one.
        limit = group.train_seconds + group.compile_seconds / _SHARING
        fitting = [one for one in dict(known) if place(templates[group.members[0]], one)]
        choices = [expect(Structure(envelope, "envelope"), group.members, load) for envelope in fitting]
        best = min(choices, key=lambda choice: choice.train_seconds, default=None)
        if best and best.train_seconds <= limit:
            offers.setdefault(best.structure, []).append(group)
        else:
            left.append(group)
    taken = []
    for structure, own in offers.items():
        together = expect(structure, sorted(index for group in own for index in group.members), load)
        true = sum(templates[index].cost.macs for index in together.members)
        padded = structure.footprint.macs * len(together.members)
        if (structure.hull, together.width) in known and padded <= most_padding * true:
            taken.append(dataclasses.replace(together, compile_seconds=0.0))
        else:
            left += own
    return taken, left


# The greedy merging. Thousands of pairs are compared at each step, so envelopes become rows of numbers here.


@dataclass
class _Table:
    """Envelopes as rows, merged by maximum: the same sizes as `envelope.merged`, but slots only by their sums.

    Attributes:
      rows: `[n, columns]`: for each stage taps, positions, channels, the sum of positions over its slots, and their
        number; then positions and channels of the flattened map, whether it may be the classifier's, and the hidden
        layers.
      image: positions and channels of an image.
      classes: of the classifier.
    """

    rows: np.ndarray
    stages: int
    image: tuple[int, int]
    classes: int

    _STAGE: ClassVar[int] = 5

    @classmethod
    def of(cls, envelopes: Sequence[Envelope]) -> _Table:
        stages = max(len(envelope.stages) for envelope in envelopes)
        hidden = max(len(envelope.hidden) for envelope in envelopes)
        rows = np.zeros((len(envelopes), cls._STAGE * stages + 3 + hidden))
        for row, envelope in zip(rows, envelopes, strict=True):
            for number, stage in enumerate(envelope.stages):
                start, inside = cls._STAGE * number, sum(slot.positions for slot in stage.slots)
                sizes = stage.size**2, stage.positions, stage.channels, inside, len(stage.slots)
                row[start : start + cls._STAGE] = sizes
            row[cls._STAGE * stages :][:3] = envelope.positions, envelope.channels, envelope.bare
            row[cls._STAGE * stages + 3 :][: len(envelope.hidden)] = envelope.hidden
        channels, height, width = envelopes[0].in_shape
        return cls(rows, stages, (height * width, channels), envelopes[0].classes)

    def costs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """MACs, parameters, elements of maps, of patches, and layers of each row: `[...]` each."""
        split = self._STAGE * self.stages
        stages = rows[..., :split].reshape(*rows.shape[:-1], self.stages, self._STAGE)
        taps, positions, channels, inside, slots = np.moveaxis(stages, -1, 0)
        first = np.full((*channels.shape[:-1], 1), self.image[1])
        inputs = np.concatenate([first, channels[..., :-1]], -1)
        patches = positions * taps * inputs
        flat, bare, hidden = rows[..., split] * rows[..., split + 1], rows[..., split + 2], rows[..., split + 3 :]
        widths = np.concatenate([flat[..., None], hidden], -1)
        linear = (widths[..., :-1] * widths[..., 1:]).sum(-1)
        linear += np.maximum(hidden.max(-1, initial=0), flat * bare) * self.classes
        macs = (patches * channels).sum(-1) + linear
        params = (taps * inputs * channels).sum(-1) + linear
        maps = (channels * (positions + inside)).sum(-1) + flat + self.image[0] * self.image[1]
        maps += 3 * hidden.sum(-1) + self.classes
        layers = 2 + (slots + (positions > 0)).sum(-1) + 3 * (hidden > 0).sum(-1)
        return macs, params, maps, patches.sum(-1), layers


def _merge(
    groups: list[Assignment],
    templates: Sequence[Template],
    load: Workload,
    alone: Callable[[Sequence[int]], list[Assignment]] | None,
    most_padding: float,
) -> list[Assignment]:
    """Greedily merges groups in envelopes; with `alone`, a group of one is as cheap as it is in its own program."""
    if len(groups) < 2:
        return groups
    table = _Table.of([group.structure.hull for group in groups])
    rows, members = table.rows, [list(group.members) for group in groups]
    envelopes = [group.structure.hull for group in groups]
    counts = np.array([len(group.members) for group in groups], float)
    macs = table.costs(rows)[0] * counts
    true = sum(templates[index].cost.macs for group in groups for index in group.members)

    def seconds(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        own, params, maps, patches, layers = table.costs(rows)
        fits = memory_of(params, maps, patches, load.batch_size, 1) <= load.device.memory / 2
        step = step_seconds(own, params, maps, patches, layers, load.batch_size, counts, load.device)
        return np.where(fits, compile_seconds(layers, load.device, envelope=True) + load.steps * step, np.inf)

    cost = seconds(rows, counts)
    if alone:
        cost = np.minimum(cost, [_seconds(alone(group.members)) for group in groups])
    alive = np.ones(len(groups), bool)

    def gains(i: int) -> tuple[np.ndarray, np.ndarray]:
        """What merging group `i` with each other saves, in seconds, and the MACs that it adds."""
        together = np.maximum(rows[i], rows)
        both = counts[i] + counts
        joined = seconds(together, both)
        with np.errstate(invalid="ignore"):  # infinity, of what does not fit, less infinity
            saved = np.where(alive & np.isfinite(joined), cost[i] + cost - joined, -np.inf)
        saved[i] = -np.inf
        return saved, both * table.costs(together)[0] - macs[i] - macs

    found = [gains(i) for i in range(len(groups))]
    gain, added = (np.stack(parts) for parts in zip(*found, strict=True))
    while True:
        allowed = np.where(macs.sum() + added <= most_padding * true, gain, -np.inf)
        # Among those that pay, the one that adds least for what it saves: greed for seconds alone soon blocks itself.
        i, j = np.unravel_index(np.argmax(np.where(allowed > 0, allowed / np.maximum(added, 1), -np.inf)), gain.shape)
        if not allowed[i, j] > 0:
            break
        macs[i], macs[j] = macs[i] + macs[j] + added[i, j], 0
        rows[i], counts[i] = np.maximum(rows[i], rows[j]), counts[i] + counts[j]
        envelopes[i] = merged(envelopes[i], envelopes[j])
        members[i] += members[j]
        cost[i] = seconds(rows[i], counts[i])
        alive[j] = False
        gain[j], gain[:, j] = -np.inf, -np.inf
        gain[i], added[i] = gains(i)
        gain[:, i], added[:, i] = gain[i], added[i]
    return [expect(Structure(envelopes[i], "envelope"), sorted(members[i]), load) for i in np.flatnonzero(alive)]
