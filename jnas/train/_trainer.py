"""Training of one structure: compiled ahead of time, one lane or several side by side.

How the steps are driven depends on the device. On a CPU a convolution inside `lax.scan` can be many times slower than
the same one stepped from the host, and dispatching costs little; on a GPU dispatching is what costs, so an epoch is one
program.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas._runtime.compile_options import compiler_options
from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn._signature import Lane, Structure, lower
from jnas.nn.envelope import Envelope
from jnas.space import Template
from jnas.store import Epoch
from jnas.train import _input_pipeline as batches
from jnas.train._engine import executable_cache as executables
from jnas.train._engine import jax_caches as remembered
from jnas.train._engine.memory_plan import Device, brief
from jnas.train._recipe import Recipe
from jnas.train._step import Hyper, Metrics, Program, State
from jnas.train._trial import Trial


@dataclass
class Run:
    """Trials in training, or trained: what `Trainer.advance` carries on.

    Attributes:
      lanes: the trials' architectures, in the structure's program.
      hyper: their training hyper-parameters, `[lanes]` each.
      state: the present state, each array with a leading axis of lanes.
      epochs: `epochs[lane]` lists that lane's epochs. A lane that turned to NaN has a NaN loss from there on.
      number: epochs done.
    """

    lanes: list[Lane]
    hyper: Hyper
    state: State
    epochs: list[list[Epoch]]
    number: int = 0

    @classmethod
    def start(cls, trainer: Trainer, trial: Trial) -> Run:
        """One trial of the trainer's structure with its initial weights.

        Raises:
          JnasError: the trial is of another structure.
        """
        lane = trainer.structure.lane(trial.template)
        recipe, seed = trial.recipe(trainer.program.recipe), trial.seed or 0
        numbers = ((seed, np.uint32), (recipe.learning_rate, np.float32), (recipe.weight_decay, np.float32))
        hyper = Hyper(*(np.array([value], dtype) for value, dtype in numbers))
        with jax.default_device(_host_device()):  # on a GPU, each small array would wait for what it computes
            state = jax.tree.map(lambda leaf: _to_host(leaf)[None], trainer.program.init(lane, seed))
        return cls([lane], hyper, state, [[]])

    @classmethod
    def stack(cls, runs: Sequence[Run]) -> Run:
        """Runs that are equally far, side by side."""
        lanes = [lane for run in runs for lane in run.lanes]
        epochs = [list(epochs) for run in runs for epochs in run.epochs]
        hyper, state = (_joined([getattr(run, name) for run in runs]) for name in ("hyper", "state"))
        return cls(lanes, hyper, state, epochs, runs[0].number)

    def split(self) -> list[Run]:
        """Each lane as a run of its own, on the host."""
        hyper, state = jax.tree.map(_to_host, (self.hyper, self.state))
        runs = []
        for i, lane in enumerate(self.lanes):
            own = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], (hyper, state))
            runs.append(Run([lane], *own, [self.epochs[i]], self.number))
        return runs


def check_batch(recipe: Recipe, split: Split) -> None:
    """Raises a JnasError where the training images do not fill one batch."""
    if recipe.batch_size > len(split.x_train):
        raise JnasError(
            f"The batch of {recipe.batch_size} is larger than the training set of {len(split.x_train)} images: choose "
            "a smaller batch size."
        )


def check_template(template: Template | Envelope, split: Split) -> None:
    """Raises a JnasError where the template, or the envelope of many, is for other images or classes."""
    height, width, channels = split.x_train.shape[1:]
    if template.in_shape != (channels, height, width):
        raise JnasError(
            f"The template is for images of {template.in_shape}, and the data has {(channels, height, width)} "
            "(channels, height, width): build it with the data's in_shape."
        )
    if template.classes != split.classes:
        raise JnasError(
            f"The template tells {template.classes} classes apart, and the data has {split.classes}: build it with "
            "the data's class count."
        )


class Trainer:
    """Trains the lanes of a structure under a recipe on the images of a split.

    Args:
      structure: what `lower` gives, or a template, which is lowered exactly.
      recipe, split: how, and on which images; to `compile` only, `Split.shapes` are enough.
      lanes: how many candidates train side by side, vmapped.
      scan: one program an epoch (True) or one a step (False); None chooses by the device.

    Raises:
      JnasError: the structure is for other images or classes, or the batch is larger than the training set.
    """

    def __init__(
        self, structure: Structure | Template, recipe: Recipe, split: Split, lanes: int = 1, scan: bool | None = None
    ):
        self.structure = lower(structure)[0] if isinstance(structure, Template) else structure
        check_template(self.structure.hull, split)
        check_batch(recipe, split)
        self.program = Program(self.structure, recipe)
        self.split = split
        self.lanes = lanes
        self.scan = jax.default_backend() != "cpu" if scan is None else scan
        self.steps = len(split.x_train) // recipe.batch_size
        alternate = self.steps if recipe.flip and recipe.alternate else 0
        self._prepare = functools.partial(batches.prepare, flip=recipe.flip, shift=recipe.shift, alternate=alternate)
        self._chunk = batches.validation_chunk(len(split.x_val), lanes)
        self._train: jax.stages.Compiled | None = None
        self._correct: jax.stages.Compiled | None = None

    def compile(self) -> float:
        """Compiles what training needs, or takes it from the cache; returns the seconds, 0 where it was done before."""
        if self._train is not None:
            return 0.0
        start = time.perf_counter()
        programs = executables.load(self._made_from, self._trees)
        if programs is None:
            programs = executables.compile_and_save(self._made_from, self._lower(), self._options)
            remembered.add()
        self._train, self._correct = programs
        return time.perf_counter() - start

    def compiled_before(self) -> bool:
        """Whether the cache has the programs."""
        return executables.kept(self._made_from)

    @functools.cached_property
    def _options(self) -> dict[str, str | bool]:
        recipe, work = self.program.recipe, self.program.recipe.epochs * self.steps
        return compiler_options(brief(self.structure, recipe.batch_size, self.lanes, work, Device.here()))

    @functools.cached_property
    def _made_from(self) -> tuple:
        """All that the programs follow from."""
        hull = self.structure.hull
        architecture = (hull.layers, hull.in_shape) if isinstance(hull, Template) else hull
        how = self.program.recipe, self.split.shapes(), self.lanes, self.scan, self._options
        return (self.structure.policy, architecture, *how)

    def _lower(self) -> list[jax.stages.Lowered]:
        """The programs that train, an epoch or a step, and that count right answers."""
        train, count = self._arguments()
        function = self._epoch if self.scan else self._step
        return [jax.jit(function, donate_argnums=(0, 1)).lower(*train), jax.jit(self._count).lower(*count)]

    def _trees(self) -> list[tuple]:
        """The structures of their arguments and results."""
        train, count = self._arguments()
        structure = jax.tree.structure
        return [(structure((train, {})), structure(train[:2])), (structure((count, {})), structure(0))]

    def _arguments(self) -> tuple[tuple, tuple]:
        """Shapes and types of what they take."""
        recipe, split = self.program.recipe, self.split.shapes()
        hyper = Hyper(*(self._array(dtype) for dtype in (np.uint32, np.float32, np.float32)))
        shapes = self.program.shapes()
        state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((self.lanes, *leaf.shape), leaf.dtype), shapes)
        metrics = Metrics(self._array(np.float32), self._array(np.int32))
        batch = (self.lanes, recipe.batch_size)
        if self.scan:
            arguments = (
                *(split.x_train, split.y_train),
                jax.ShapeDtypeStruct((self.lanes, self.steps, recipe.batch_size), jnp.int32),
                jax.ShapeDtypeStruct((self.steps,), jnp.float32),
                jax.ShapeDtypeStruct((), jnp.int32),
            )
        else:
            inputs = jax.ShapeDtypeStruct((*batch, *split.x_train.shape[1:]), jnp.float32)
            labels = jax.ShapeDtypeStruct(batch, jnp.int32)
            arguments = (inputs, labels, jax.ShapeDtypeStruct((), jnp.float32))
        images = jax.ShapeDtypeStruct((self._chunk, *split.x_val.shape[1:]), split.x_val.dtype)
        labels = jax.ShapeDtypeStruct((self._chunk,), split.y_val.dtype)
        return (state, metrics, hyper, *arguments), (state.params, state.rest, images, labels)

    @property
    def memory(self) -> int:
        """Bytes that the compiled programs take, as the compiler knows; 0 where it does not tell."""
        sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
        found = [program.memory_analysis() for program in (self._train, self._correct) if program]
        return max(
            (sum(getattr(one, size) for size in sizes) - one.alias_size_in_bytes for one in found if one), default=0
        )

    def train(self, trials: Sequence[Trial], on_epoch: Callable[[int, list[Epoch]], None] | None = None) -> Run:
        """Trains `lanes` trials from their initial weights for the recipe's epochs; see `advance`.

        Raises:
          JnasError: there are not as many trials as lanes, or one is of another structure.
        """
        if len(trials) != self.lanes:
            raise JnasError(f"This trainer takes {self.lanes} trials at a time, and {len(trials)} were given.")
        return self.advance(Run.stack([Run.start(self, trial) for trial in trials]), on_epoch=on_epoch)

    def advance(
        self,
        run: Run,
        until: int | None = None,
        on_epoch: Callable[[int, list[Epoch]], None] | None = None,
    ) -> Run:
        """Carries a run on, the state of the optimiser and the place in the schedule too.

        Args:
          run: what `Run.stack` made, with `lanes` lanes, or an earlier `advance` gave; it is updated.
          until: epochs done at the end; the recipe's where not given.
          on_epoch: called after each epoch with its number, from 1, and the lanes' latest results.
        """
        self.compile()
        recipe, hyper = self.program.recipe, run.hyper
        seen = self.steps * recipe.batch_size
        rates = recipe.rates(self.steps)
        for number in range(run.number, recipe.epochs if until is None else until):
            order = batches.order(
                hyper.seed,
                np.int32(number),
                images=len(self.split.x_train),
                steps=self.steps,
                batch_size=recipe.batch_size,
            )
            metrics = Metrics(np.zeros(self.lanes, np.float32), np.zeros(self.lanes, np.int32))
            run.state, metrics = self._run_epoch(run.state, metrics, hyper, order, rates[number], number * self.steps)
            run.number = number + 1
            validation = batches.validation_chunks(self.split, self.lanes)
            accuracy = self._accuracy(run.state, *validation, len(self.split.x_val))
            loss, correct = jax.device_get(metrics)  # last: a GPU has been given all its work before it is waited for
            for i, epochs in enumerate(run.epochs):
                epochs.append(Epoch(float(loss[i]) / seen, int(correct[i]) / seen, float(accuracy[i])))
            if on_epoch:
                on_epoch(number + 1, [epochs[-1] for epochs in run.epochs])
            if not np.isfinite(loss).any():
                break  # no lane can recover
        return run

    def accuracy(self, state: State, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The share of `images` `[N, H, W, C]` uint8 that each lane of `state` labels right: `[lanes]`."""
        return self._accuracy(state, *batches.chunks(images, labels, self._chunk), len(images))

    def module(self, run: Run, lane: int = 0) -> nnx.Module:
        """The trained module of one lane's template, in evaluation mode."""
        module = self.program.merge(jax.tree.map(lambda leaf: _to_host(leaf)[lane], run.state))
        module = run.lanes[lane].unfold(module)
        module.eval()
        return module

    def _run_epoch(self, state, metrics, hyper, order, rates, first):
        """Drives one epoch: `order` is `[lanes, steps, B]`, `rates` `[steps]`, `first` its first step's number."""
        images, labels = self.split.x_train, self.split.y_train
        if self.scan:
            return self._train(state, metrics, hyper, images, labels, order, rates, np.int32(first))
        order = np.asarray(order)
        for i, rate in enumerate(rates):
            batch = self._prepare(hyper.seed, np.int32(first + i), images, labels, order[:, i])
            state, metrics = self._train(state, metrics, hyper, *batch, rate)
        return state, metrics

    def _accuracy(self, state, images, labels, count) -> np.ndarray:
        correct = [self._correct(state.params, state.rest, *chunk) for chunk in zip(images, labels, strict=True)]
        return sum(jax.device_get(correct)) / count

    # What is compiled. Every argument and result has a leading axis of lanes, unless it is shared.

    def _step(self, state, metrics, hyper, inputs, labels, rate):
        return self._over_lanes(self.program.step, 5, (rate,))(state, metrics, hyper, inputs, labels)

    def _epoch(self, state, metrics, hyper, images, labels, order, rates, first):
        def body(carry, step):
            batch, rate, number = step
            inputs, targets = self._prepare(hyper.seed, number, images, labels, batch)
            return self._step(*carry, hyper, inputs, targets, rate), None

        steps = (jnp.swapaxes(order, 0, 1), rates, first + jnp.arange(self.steps))
        return jax.lax.scan(body, (state, metrics), steps)[0]

    def _count(self, params, rest, images, labels):
        return self._over_lanes(self.program.correct, 2, (images, labels))(params, rest)

    def _over_lanes(self, function: Callable, mapped: int, shared: tuple) -> Callable:
        """`function` over the lanes of its first `mapped` arguments, the `shared` ones following.

        One lane is not vmapped: XLA's own convolution serves it, which lanes with kernels of their own cannot use.
        """
        if self.lanes > 1:
            return lambda *args: jax.vmap(function, (0,) * mapped + (None,) * len(shared))(*args, *shared)

        def alone(*args):
            result = function(*jax.tree.map(lambda leaf: leaf[0], args), *shared)
            return jax.tree.map(lambda leaf: leaf[None], result)

        return alone

    def _array(self, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.lanes,), dtype)


def _joined(trees: list[Any]) -> Any:
    """Trees of arrays with a leading axis of lanes, one behind the other; nothing is compiled for it."""

    def join(*leaves):
        if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            return jnp.concatenate(leaves)
        return np.concatenate([np.asarray(leaf) for leaf in leaves])

    return trees[0] if len(trees) == 1 else jax.tree.map(join, *trees)


def _host_device() -> jax.Device | None:
    """The CPU, unless JAX was told to leave it alone (JAX_PLATFORMS=cuda)."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def _to_host(leaf: jax.Array) -> Any:
    """NumPy's array, which frees the device; random keys stay what they are."""
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf)
