"""Compiled programs of a signature: what trains one step or one epoch, and what classifies.

On a CPU a convolution inside `lax.scan` can be many times slower than one that is stepped from the host, and
dispatching costs little; on a GPU dispatching is what costs, so there an epoch is one program.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnas._runtime import executable_cache
from jnas._runtime.compile_options import compiler_options
from jnas.data import Split
from jnas.nn import num_activations
from jnas.space import Template
from jnas.train._input_pipeline import EVAL_BATCH_SIZE, augment_batch
from jnas.train._step import Metrics, Steps, TrainState, TrialHyperparams

# Rough speeds of two cores (AMD EPYC), by which trainings are called short. They are constants, not this machine's,
# so that the choice of options, and with it the rounding, is the same everywhere.
_MACS_PER_SECOND = 80e9
_BYTES_PER_SECOND = 20e9
_COMPILE_SECONDS, _COMPILE_SECONDS_PER_LAYER = 0.3, 0.06
_MIN_RUN_TO_COMPILE_RATIO = 2
_STEP_MACS_PER_FORWARD = 3
"""A step is the forward pass, the gradient of the input and the gradient of the weights."""
_ACTIVATION_ACCESSES, _PARAMETER_ACCESSES = 8, 12
"""How often a step reads or writes each element, a mean over the layers of the space."""

_MIN_EVAL_BATCH_SIZE = 32


class Programs(NamedTuple):
    """`train` does a step, or an epoch if the trainer scans; `logits` classifies a batch of normalised images."""

    train: jax.stages.Compiled
    logits: jax.stages.Compiled


def is_short_run(template: Template, batch_size: int, steps: int) -> bool:
    """Returns whether this many training steps take so little time that compiling would take most of it."""
    arithmetic = _STEP_MACS_PER_FORWARD * template.cost.macs * batch_size / _MACS_PER_SECOND
    activations, params = batch_size * num_activations(template), template.cost.params
    accesses = _ACTIVATION_ACCESSES * activations + _PARAMETER_ACCESSES * params
    seconds = steps * max(arithmetic, 4 * accesses / _BYTES_PER_SECOND)
    return seconds < _MIN_RUN_TO_COMPILE_RATIO * (_COMPILE_SECONDS + _COMPILE_SECONDS_PER_LAYER * len(template.layers))


@dataclass(frozen=True)
class ProgramSpec:
    """What the programs of a trainer follow from, and how to make them. `shapes` is of `Split.shapes()`."""

    steps: Steps
    shapes: Split
    num_lanes: int
    scan: bool

    @property
    def steps_per_epoch(self) -> int:
        """Training steps an epoch."""
        return len(self.shapes.x_train) // self.steps.recipe.batch_size

    @property
    def val_batch_size(self) -> int:
        """Validation images at once: fewer with more lanes, and such that the last batch is fullest."""
        num_images, max_size = len(self.shapes.x_val), max(EVAL_BATCH_SIZE // self.num_lanes, _MIN_EVAL_BATCH_SIZE)
        return -(-num_images // -(-num_images // max_size))

    def compile(self) -> Programs:
        """Returns the programs, from the cache on disk or compiled."""
        programs = executable_cache.load(self._cache_key, self._in_out_trees)
        if programs is None:
            programs = executable_cache.compile_and_save(self._cache_key, self._lower(), self._options)
        return Programs(*programs)

    def is_cached(self) -> bool:
        """Returns whether the cache on disk has the programs."""
        return executable_cache.is_cached(self._cache_key)

    @functools.cached_property
    def augment_batch(self) -> Callable:
        """The function `augment_batch` with the recipe's augmentation."""
        recipe = self.steps.recipe
        alternate = self.steps_per_epoch if recipe.flip and recipe.alternating_flip else 0
        return functools.partial(
            augment_batch,
            flip=recipe.flip,
            shift=recipe.shift,
            cut_out=recipe.cut_out,
            steps_per_alternation=alternate,
        )

    @functools.cached_property
    def _options(self) -> dict[str, str | bool]:
        recipe = self.steps.recipe
        num_steps = recipe.epochs * self.steps_per_epoch
        short = is_short_run(self.steps.signature, recipe.batch_size, num_steps)
        return compiler_options("short_run" if short else "train")

    @functools.cached_property
    def _cache_key(self) -> tuple:
        signature, shapes = self.steps.signature, self.shapes
        architecture = (signature.layers, signature.in_shape)
        arrays = (shapes.x_train, shapes.y_train, shapes.x_val, shapes.y_val)
        images = tuple((array.shape, str(array.dtype)) for array in arrays)
        return (architecture, self.steps.recipe.to_json(), images, self.num_lanes, self.scan, self._options)

    def _lower(self) -> list[jax.stages.Lowered]:
        train, classified = self._arguments()
        function = self._train_epoch if self.scan else self._train_step
        return [jax.jit(function, donate_argnums=(0, 1)).lower(*train), jax.jit(self._logits).lower(*classified)]

    def _in_out_trees(self) -> list[tuple]:
        train, classified = self._arguments()
        structure = jax.tree.structure
        return [(structure((train, {})), structure(train[:2])), (structure((classified, {})), structure(0))]

    def _arguments(self) -> tuple[tuple, tuple]:
        """Shapes and types of the arguments of both programs."""
        recipe, lanes, array = self.steps.recipe, self.num_lanes, jax.ShapeDtypeStruct
        state = jax.tree.map(lambda leaf: array((lanes, *leaf.shape), leaf.dtype), self.steps.state_shapes())
        seed, rate = array((lanes,), np.uint32), array((lanes,), np.float32)
        kernel_size = self.steps.whitened_kernel_size
        patch = kernel_size and kernel_size**2 * self.shapes.x_train.shape[-1]
        is_weighted = self.steps.recipe.class_weights != "none"
        weights = array((lanes, self.steps.signature.classes), np.float32) if is_weighted else None
        hyperparams = TrialHyperparams(seed, rate, rate, patch and array((lanes, patch, patch), np.float32), weights)
        metrics = Metrics(array((lanes,), np.float32), array((lanes,), np.int32))
        if self.scan:
            images = (self.shapes.x_train, self.shapes.y_train)
            order = array((lanes, self.steps_per_epoch, recipe.batch_size), jnp.int32)
            batch = (*images, order, array((self.steps_per_epoch,), jnp.float32), array((), jnp.int32))
        else:
            inputs = array((lanes, recipe.batch_size, *self.shapes.x_train.shape[1:]), jnp.float32)
            batch = (inputs, array((lanes, recipe.batch_size), jnp.int32), array((), jnp.float32))
        images = array((self.val_batch_size, *self.shapes.x_val.shape[1:]), jnp.float32)
        return (state, metrics, hyperparams, *batch), (state.params, state.model_state, images)

    # What is compiled. Every argument and result has a leading axis of lanes, unless it is shared.

    def _train_step(self, state, metrics, hyperparams, inputs, labels, lr_factor):
        step = self._over_lanes(self.steps.train_step, 5, (lr_factor,))
        return step(state, metrics, hyperparams, inputs, labels)

    def _train_epoch(self, state, metrics, hyperparams, images, labels, order, lr_factors, first_step):
        def body(carry: tuple[TrainState, Metrics], inputs):
            batch, lr_factor, step = inputs
            pixels, targets = self.augment_batch(hyperparams.seed, step, images, labels, batch)
            return self._train_step(*carry, hyperparams, pixels, targets, lr_factor), None

        steps = first_step + jnp.arange(self.steps_per_epoch)
        return jax.lax.scan(body, (state, metrics), (jnp.swapaxes(order, 0, 1), lr_factors, steps))[0]

    def _logits(self, params, model_state, images):
        return self._over_lanes(self.steps.logits, 2, (images,))(params, model_state)

    def _over_lanes(self, function: Callable, num_mapped: int, shared: tuple) -> Callable:
        """`function` over the lanes of its first `num_mapped` arguments; the `shared` ones follow.

        One lane is not vmapped: XLA's own convolution serves it, which lanes with kernels of their own cannot use.
        """
        if self.num_lanes > 1:
            axes = (0,) * num_mapped + (None,) * len(shared)
            return lambda *args: jax.vmap(function, axes)(*args, *shared)

        def one_lane(*args: Any):
            result = function(*jax.tree.map(lambda leaf: leaf[0], args), *shared)
            return jax.tree.map(lambda leaf: leaf[None], result)

        return one_lane
