"""Compiles the program of a group and trains its trials, as many side by side as the device gains by and can hold."""

import collections
import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

from jnas._runtime.devices import Place, available_memory, here
from jnas.data import Split
from jnas.nn import largest_im2col, num_activations
from jnas.space import Template
from jnas.store import Epoch
from jnas.train._engine.jobs import Failure, failure_of
from jnas.train._recipe import Recipe
from jnas.train._trainer import Trainer, TrainingRun, check_template
from jnas.train._trial import Trial

OnEpoch = Callable[[int], None]
TRAINER_CLASS: type[Trainer] = Trainer
"""What trains; tests put a trainer without XLA here."""
LANE_COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Lanes that a program may have: few values, so that programs recur."""

_MEMORY_FRACTION = 0.9
_LIVE_ACTIVATION_COPIES = 3
"""Each feature map is in memory this often at once: value, gradient, temporary."""
_PARAMETER_COPIES = 6
"""Value, gradient, two moments, and room for the update."""
_BYTES = 4


class GroupSpec(NamedTuple):
    """What a group trainer is made from; it can be sent to another process.

    `max_memory` is in bytes; None is what the device has that it comes to.
    """

    signature: Template
    trials: tuple[Trial, ...]
    recipe: Recipe
    max_memory: int | None


class CompileReply(NamedTuple):
    """What compiling came to: why there is no program; or trials side by side, and bytes that training needs."""

    failure: Failure | None
    num_lanes: int = 0
    memory: int = 0


class Outcome(NamedTuple):
    """What training did to a trial: its epochs, why it failed, and the run to go on from, if it was to be kept."""

    epochs: list[Epoch]
    failure: Failure | None
    run: TrainingRun | None


class GroupTrainer:
    """Trains the trials of a group: one chunk of as many lanes as the program has after another.

    `compile_ahead` is called with each trainer before it compiles, to have its programs compiled into the cache.
    """

    can_abort = False

    def __init__(self, spec: GroupSpec, split: Split, compile_ahead: Callable[[Trainer], None] | None = None):
        self._spec, self._split, self._compile_ahead = spec, split, compile_ahead
        self._trainer: Trainer | None = None
        self._first_runs: list[TrainingRun] = []

    @property
    def place(self) -> Place:
        """Where it computes."""
        return here()

    def compile(self) -> CompileReply:
        """Plans the memory, compiles, and draws the first initial weights, for which nothing waits here."""
        try:
            check_template(self._spec.signature, self._split)
            return self._compile()
        except Exception as error:
            return CompileReply(failure_of(error))

    def _compile(self) -> CompileReply:
        spec, max_memory = self._spec, training_memory(self._spec.max_memory)
        num_lanes = choose_num_lanes(spec.signature, spec.recipe.batch_size, len(spec.trials), max_memory)
        memory = required_memory(spec.signature, spec.recipe.batch_size)
        while num_lanes:
            trainer = self._compile_lanes(num_lanes)
            memory = trainer.memory
            if memory <= max_memory:
                self._first_runs = [trainer.start(trial) for trial in spec.trials[:num_lanes]]
                self._trainer = trainer
                return CompileReply(None, num_lanes, memory)
            num_lanes //= 2  # the estimate was too low; the compiler knows better
        message = (
            f"training needs about {memory / 2**30:.2f} GiB, and {max_memory / 2**30:.2f} GiB may be "
            "used: choose a smaller batch size, or limit the size of templates"
        )
        return CompileReply(("too_large", message))

    def train(
        self, runs: Sequence[TrainingRun | None], until: int, keep: bool, on_epoch: OnEpoch
    ) -> Iterator[list[Outcome]]:
        """Trains all trials until this many epochs are done; yields the outcomes of each chunk, in order.

        `runs` has for each trial the run to go on from; None starts it. With `keep` outcomes have runs, to go on later.
        """
        starts = [run or first for run, first in itertools.zip_longest(runs, self._first_runs)]
        self._first_runs = []
        pending = collections.deque(zip(self._spec.trials, starts, strict=True))
        trainer = self._trainer
        assert trainer is not None, "compile() comes first"
        while pending:
            chunk = [pending.popleft() for _ in range(min(trainer.num_lanes, len(pending)))]
            outcomes = _train_chunk(trainer, chunk, until, keep, on_epoch)
            failure = outcomes[0].failure
            if failure and failure[0] == "out_of_memory" and trainer.num_lanes > 1:  # the compiler had said too little
                with contextlib.suppress(Exception):  # the first failure is the one to report
                    trainer = self._trainer = self._compile_lanes(trainer.num_lanes // 2)
                    pending.extendleft(reversed(chunk))
                    continue
            yield outcomes

    def abort(self) -> None:
        """Does nothing: neither XLA's compiler nor an epoch can be interrupted in this process."""

    def close(self) -> None:
        """Lets the program go."""
        self._trainer = None

    def _compile_lanes(self, num_lanes: int) -> Trainer:
        trainer = TRAINER_CLASS(self._spec.signature, self._spec.recipe, self._split, num_lanes)
        if self._compile_ahead:
            self._compile_ahead(trainer)
        trainer.compile()
        return trainer


def _train_chunk(
    trainer: Trainer, chunk: list[tuple[Trial, TrainingRun | None]], until: int, keep: bool, on_epoch: OnEpoch
) -> list[Outcome]:
    """Trains trials side by side."""
    failure, together = None, None
    try:
        starts = [run or trainer.start(trial) for trial, run in chunk]
        # Lanes without a trial repeat the last one.
        together = TrainingRun.stack([*starts, *[starts[-1]] * (trainer.num_lanes - len(starts))])
        trainer.train_until(together, until, on_epoch)
    except Exception as error:
        failure = failure_of(error)
    # Epochs that were done before a failure count.
    epochs = together.history if together else [list(run.history[0]) if run else [] for _, run in chunk]
    runs = together.unstack() if together and keep and not failure else [None] * len(chunk)
    return [Outcome(epochs[lane], failure, runs[lane]) for lane in range(len(chunk))]


def training_memory(limit: int | None = None) -> int:
    """Returns the bytes that training may use: `limit`, or 90 % of what the device has."""
    return int(available_memory(jax.local_devices()[0]) * _MEMORY_FRACTION) if limit is None else limit


def choose_num_lanes(template: Template, batch_size: int, num_trials: int, max_memory: int) -> int:
    """Returns how many trials train side by side; 0 if not even one fits into memory.

    Small networks leave a GPU idle, so there it is the smallest power of two that holds all trials, or the largest that
    fits into memory. A CPU gains nothing from lanes, whose convolutions lay out their patches: there it is 1.
    """
    is_cpu = jax.default_backend() == "cpu"
    lane_counts = [n for n in LANE_COUNTS if n == 1 or (not is_cpu and n < 2 * num_trials)]
    return max((n for n in lane_counts if required_memory(template, batch_size, n) <= max_memory), default=0)


def required_memory(template: Template, batch_size: int, num_lanes: int = 1) -> int:
    """Returns an estimate of the bytes that training takes.

    A single lane on a CPU convolves without laying out patches; several lanes, and a GPU, lay out those of one
    convolution at a time, and its gradient's.
    """
    uses_im2col = num_lanes > 1 or jax.default_backend() != "cpu"
    im2col = largest_im2col(template) if uses_im2col else 0
    per_image = _LIVE_ACTIVATION_COPIES * num_activations(template) + 2 * im2col
    return _BYTES * num_lanes * (batch_size * per_image + _PARAMETER_COPIES * template.cost.params)
