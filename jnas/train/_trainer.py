"""Training of the trials of one program: one, or several side by side."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse, to_instance, to_int
from jnas.data import Split
from jnas.errors import JnasError
from jnas.nn import build, program_signature
from jnas.space import Template
from jnas.store import Epoch
from jnas.train._compiled import Programs, ProgramSpec
from jnas.train._input_pipeline import epoch_permutation, normalised_views
from jnas.train._metrics import AnswerCounts, count_answers, measure
from jnas.train._recipe import Recipe
from jnas.train._step import Metrics, Steps, TrainState, TrialHyperparams
from jnas.train._trial import Trial
from jnas.train._views import ONE_VIEW, Views

CURVE_IMAGES = 2000
"""Validation images, about, on which epochs before the last one are measured: all take longer than some trainings."""

_count_answers = jax.jit(count_answers, static_argnames="views")


@dataclass
class TrainingRun:
    """Trials in training, one a lane: what `Trainer.train_until` carries on.

    Arrays of `hyperparams` and `state` have a leading axis of lanes. `history[lane]` lists that lane's epochs; a lane
    that turned to NaN has a NaN loss from there on. `epoch` counts those that are done.
    """

    templates: list[Template]
    hyperparams: TrialHyperparams = field(repr=False)
    state: TrainState = field(repr=False)
    history: list[list[Epoch]] = field(repr=False)
    epoch: int = 0

    @classmethod
    def stack(cls, runs: Sequence[TrainingRun]) -> TrainingRun:
        """Returns runs that are equally far as the lanes of one."""
        templates = [template for run in runs for template in run.templates]
        history = [list(epochs) for run in runs for epochs in run.history]
        trees = [(run.hyperparams, run.state) for run in runs]
        if len(trees) > 1:  # by NumPy, so that nothing is compiled for it
            trees = [jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *trees)]
        hyperparams, state = trees[0]
        return cls(templates, hyperparams, state, history, runs[0].epoch)

    def unstack(self) -> list[TrainingRun]:
        """Returns each lane as a run of its own, on the host."""
        hyperparams, state = jax.tree.map(np.asarray, (self.hyperparams, self.state))
        runs = []
        for lane, template in enumerate(self.templates):
            one = jax.tree.map(lambda leaf, lane=lane: leaf[lane : lane + 1], (hyperparams, state))
            runs.append(TrainingRun([template], one[0], one[1], [self.history[lane]], self.epoch))
        return runs


def check_batch(recipe: Recipe, split: Split) -> None:
    """Raises a JnasError if the training images do not fill one batch, or augmentation leaves nothing of an image."""
    if recipe.batch_size > (count := len(split.x_train)):
        refuse("batch_size", f"<= {count:,}, the number of training images", recipe.batch_size)
    side = min(split.x_train.shape[1:3])
    for name in ("shift", "test_shift"):
        if (pixels := getattr(recipe, name)) >= side:
            refuse(name, f"less than the {side} pixels of an image's shorter side", pixels, "0 is for no shift")
    if recipe.cut_out > side:
        refuse("cut_out", f"<= {side}, the pixels of an image's shorter side", recipe.cut_out, "0 is for none")


def check_template(template: Template, split: Split) -> None:
    """Raises a JnasError if the template is for other images or classes."""
    height, width, channels = split.x_train.shape[1:]
    in_shape = channels, height, width
    if (template.in_shape, template.classes) != (in_shape, split.classes):
        raise JnasError(
            f"The template's in_shape must be {in_shape} (channels, height, width) and its classes must be "
            f"{split.classes} for these images, got {template.in_shape} and {template.classes}; make it with "
            "Template.from_hash(hash, dataset.in_shape, dataset.classes)."
        )


@with_own_settings
class Trainer:
    """Trains the trials of one program, of which `template` is any, on the images of a split.

    `num_lanes` trials are side by side, vmapped. `scan`: one program an epoch (True) or one a step (False); None
    chooses by the device.

    Raises:
      JnasError: the template is for other images or classes, or the batch is larger than the training set.
    """

    @with_own_settings
    def __init__(self, template: Template, recipe: Recipe, split: Split, num_lanes: int = 1, scan: bool | None = None):
        for name, value, kind in (
            ("template", template, Template),
            ("recipe", recipe, Recipe),
            ("split", split, Split),
        ):
            to_instance(name, value, kind)
        num_lanes, split = to_int("num_lanes", num_lanes, 1), split.take(recipe.train_images)
        check_template(template, split)
        check_batch(recipe, split)
        self.steps = Steps(program_signature(template), recipe)
        self.split, self.num_lanes = split, num_lanes
        scan = jax.default_backend() != "cpu" if scan is None else scan
        self.spec = ProgramSpec(self.steps, split.shapes(), num_lanes, scan)

    @functools.cached_property
    def programs(self) -> Programs:
        """The programs: compiled, or loaded from the cache, when they are first needed."""
        return self.spec.compile()

    @property
    def memory(self) -> int:
        """Bytes that the programs need; 0 where the compiler does not say."""
        sizes = [size for size in (program.memory_analysis() for program in self.programs) if size]
        used = [size.argument_size_in_bytes + size.output_size_in_bytes + size.temp_size_in_bytes for size in sizes]
        return max((total - size.alias_size_in_bytes for total, size in zip(used, sizes, strict=True)), default=0)

    def compile(self) -> float:
        """Makes the programs, if there are none; returns the seconds that took."""
        start = time.perf_counter()
        _ = self.programs
        return time.perf_counter() - start

    def start(self, trial: Trial) -> TrainingRun:
        """Returns a run of one trial with its initial weights; raises a JnasError if it needs another program."""
        if program_signature(trial.template) != self.steps.signature:
            raise JnasError(f"Template {trial.template.hash} must have this trainer's program signature; make another.")
        recipe, seed = trial.recipe(self.steps.recipe), trial.seed or 0
        learning_rate, weight_decay = (np.array([x], np.float32) for x in (recipe.learning_rate, recipe.weight_decay))
        kernel_size = self.steps.whitened_kernel_size
        whitening = None if kernel_size is None else self.split.patch_whitening(kernel_size)
        lane = None if whitening is None else whitening[None]
        weights = self.split.class_weights[None] if recipe.class_weights == "balanced" else None
        hyperparams = TrialHyperparams(np.array([seed], np.uint32), learning_rate, weight_decay, lane, weights)
        with jax.default_device(_host_device()):  # on a GPU, each small array would wait for what it computes
            state = jax.tree.map(
                lambda leaf: np.asarray(leaf)[None], self.steps.init_state(trial.template, seed, whitening)
            )
        return TrainingRun([trial.template], hyperparams, state, [[]])

    def train(self, trials: Sequence[Trial], on_epoch: Callable[[int], None] | None = None) -> TrainingRun:
        """Returns the run of `num_lanes` trials (or a JnasError), trained from the start for the recipe's epochs."""
        if len(trials) != self.num_lanes:
            raise JnasError(f"The number of trials must be {self.num_lanes}, the trainer's lanes, got {len(trials)}.")
        run = TrainingRun.stack([self.start(trial) for trial in trials])
        return self.train_until(run, self.steps.recipe.epochs, on_epoch)

    def train_until(self, run: TrainingRun, epoch: int, on_epoch: Callable[[int], None] | None = None) -> TrainingRun:
        """Trains a run of `num_lanes` lanes until so many epochs are done, and returns it.

        The optimiser and the schedule go on. After the recipe's last epoch the validation accuracy is of all images, by
        all of its `views`; before, of some `CURVE_IMAGES` of them as they are, which takes a fraction of the time.
        `on_epoch` is called after each epoch with its number, from 1.
        """
        recipe, steps = self.steps.recipe, self.spec.steps_per_epoch
        images_per_epoch = steps * recipe.batch_size
        lr_factors = recipe.learning_rates(steps)
        while run.epoch < epoch:
            metrics = self._train_epoch(run, lr_factors[run.epoch])
            run.epoch += 1
            is_last = run.epoch == recipe.epochs
            batches = self._validation_batches(is_last)
            answers = self._count_answers(run.state, batches, recipe.views if is_last else ONE_VIEW)
            loss, correct = jax.device_get(metrics)  # last: a GPU has all its work before it is waited for
            for lane, (epochs, measured) in enumerate(zip(run.history, self._measure(answers, batches), strict=True)):
                train_loss, train_acc = float(loss[lane]) / images_per_epoch, int(correct[lane]) / images_per_epoch
                epochs.append(Epoch(train_loss, train_acc, *measured))
            if on_epoch:
                on_epoch(run.epoch)
            if not np.isfinite(loss).any():
                break  # no lane can recover
        return run

    def _train_epoch(self, run: TrainingRun, lr_factors: np.ndarray) -> Metrics:
        """Trains the run's next epoch; its state is updated."""
        images, labels, hyperparams = self.split.x_train, self.split.y_train, run.hyperparams
        train, steps = self.programs.train, self.spec.steps_per_epoch
        sizes = {"num_images": len(images), "steps": steps, "batch_size": self.steps.recipe.batch_size}
        order = epoch_permutation(hyperparams.seed, np.int32(run.epoch), **sizes)
        metrics = Metrics(np.zeros(self.num_lanes, np.float32), np.zeros(self.num_lanes, np.int32))
        if self.spec.scan:
            epoch = (images, labels, order, lr_factors, np.int32(run.epoch * steps))
            run.state, metrics = train(run.state, metrics, hyperparams, *epoch)
            return metrics
        order = np.asarray(order)
        for i, lr_factor in enumerate(lr_factors):
            step = np.int32(run.epoch * steps + i)
            batch = self.spec.augment_batch(hyperparams.seed, step, images, labels, order[:, i])
            run.state, metrics = train(run.state, metrics, hyperparams, *batch, lr_factor)
        return metrics

    def _validation_batches(self, is_last: bool) -> list[tuple[jax.Array, jax.Array]]:
        """Images and labels; before the last epoch those of some batches in even steps."""
        step = 1 if is_last else max(1, len(self.split.x_val) // CURVE_IMAGES)
        images, labels = self.split.validation_batches(self.spec.val_batch_size)
        return [(images[index], labels[index]) for index in range(0, len(images), step)]

    def _count_answers(self, state: TrainState, batches: Sequence[tuple], views: Views) -> list[AnswerCounts]:
        """How each lane answers each batch of validation images; still on the device."""
        counts = []
        for images, labels in batches:
            inputs = normalised_views(images, views)
            logits = [self.programs.logits(state.params, state.model_state, view) for view in inputs]
            counts.append(_count_answers(logits, labels, views))
        return counts

    def _measure(self, answers: list[AnswerCounts], batches: Sequence[tuple]) -> list[tuple[float, ...]]:
        """How good the answers of each lane are, as `measure` returns it."""
        totals = jax.tree.map(lambda *parts: np.sum(parts, 0), *jax.device_get(answers))
        labels = np.concatenate([np.asarray(labels) for _, labels in batches])
        labels = labels[labels >= 0]  # the last batch is filled up
        return [measure(AnswerCounts(*(sums[lane] for sums in totals)), labels) for lane in range(self.num_lanes)]


@with_own_settings
def trained_module(run: TrainingRun, lane: int = 0) -> nnx.Module:
    """Returns the trained module of one lane's template, in evaluation mode."""
    module = build(run.templates[lane], nnx.Rngs(0))
    module.eval()
    params, model_state = jax.tree.map(lambda leaf: np.asarray(leaf)[lane], (run.state.params, run.state.model_state))
    nnx.update(module, *jax.device_put((params, model_state)))
    return module


def _host_device() -> Any:
    """The CPU, unless JAX was told to leave it alone (JAX_PLATFORMS=cuda)."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None
