"""Classes and accuracy of a trained module, as whoever loads it would measure them, and how long they take."""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8
from numpy.typing import ArrayLike

from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse, to_instance
from jnas.data import check_images, check_labels, normalise
from jnas.space import Template
from jnas.train._input_pipeline import EVAL_BATCH_SIZE
from jnas.train._views import ONE_VIEW, Views

_REPEATS = 7
_MIN_SECONDS = 0.01


def predict_with(
    logits_fn: Callable[[np.ndarray], Array | np.ndarray], images: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, " n"]:
    """Returns the class of each image by a function from images to logits `[n, classes]`."""
    if not len(images):
        return np.zeros(0, np.int64)
    parts = np.array_split(images, -(-len(images) // EVAL_BATCH_SIZE))
    return np.concatenate([np.asarray(logits_fn(part)).argmax(-1) for part in parts])


@with_own_settings
def predict(
    module: nnx.Module, images: ArrayLike, views: Views = ONE_VIEW, in_shape: tuple[int, int, int] | None = None
) -> Int[np.ndarray, " n"]:
    """Returns the class of each image by a module in evaluation mode.

    Args:
      module: a trained module.
      images: `[N, H, W, C]` uint8, or `[N, H, W]` for one channel; there may be none.
      views: the recipe's `views`.
      in_shape: `(C, H, W)` of the module's template, which images are then checked for.

    Raises:
      JnasError: if the images are something else.
    """
    views = to_instance("views", views, Views, "give a recipe's views")
    shape = None if in_shape is None else (*in_shape[1:], in_shape[0])
    checked = np.asarray(check_images(images, shape))
    return predict_with(lambda part: logits(module, jax.device_put(part), views), checked)


@with_own_settings
def probabilities(
    module: nnx.Module, images: ArrayLike, views: Views = ONE_VIEW, in_shape: tuple[int, int, int] | None = None
) -> Float[np.ndarray, "n classes"]:
    """Returns the probabilities of the classes of each image: the softmax of the mean logits of its views.

    Arguments and errors are those of `predict`, whose class is the one with the highest probability.
    """
    views = to_instance("views", views, Views, "give a recipe's views")
    shape = None if in_shape is None else (*in_shape[1:], in_shape[0])
    checked = np.asarray(check_images(images, shape))
    padded = checked if len(checked) else np.zeros((1, *checked.shape[1:]), np.uint8)
    parts = np.array_split(padded, -(-len(padded) // EVAL_BATCH_SIZE))
    found = [jax.nn.softmax(logits(module, jax.device_put(part), views)) for part in parts]
    return np.concatenate([np.asarray(part) for part in found])[: len(checked)]


@with_own_settings
def accuracy(
    module: nnx.Module,
    images: ArrayLike,
    labels: ArrayLike,
    views: Views = ONE_VIEW,
    in_shape: tuple[int, int, int] | None = None,
) -> float:
    """Returns the fraction of images that `predict` gets right; the labels are one whole number each, from 0.

    Raises:
      JnasError: if `predict` raises one, or there are no images or not as many labels.
    """
    classes = predict(module, images, views, in_shape)
    correct = classes == check_labels(labels, classes.shape, "labels")
    if not len(correct):
        refuse("images", "at least one, to have an accuracy", images)
    return float(correct.sum() / len(correct))


@with_own_settings
@functools.partial(nnx.jit, static_argnames="views")
def logits(module: nnx.Module, images: UInt8[Array, "n h w c"], views: Views) -> Float[Array, "n classes"]:
    """Returns the logits of images by a module in evaluation mode."""
    return views.mean_logits(module, normalise(images))


@with_own_settings
def latency_ms(template: Template, batch_size: int = 1) -> float:
    """Returns the milliseconds that the logits of a batch take, in evaluation mode, without compiling.

    The median of 7 repeats of at least 10 ms each. Weights are untrained: they do not change the time.
    """
    module = template.build(nnx.Rngs(0))
    module.eval()
    graph, state = nnx.split(module)
    forward = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
    channels, height, width = template.in_shape
    x = jnp.zeros((batch_size, height, width, channels))
    jax.block_until_ready(forward(state, x))

    def measure(calls: int) -> float:
        start = time.perf_counter()
        jax.block_until_ready([forward(state, x) for _ in range(calls)])
        return time.perf_counter() - start

    calls = 1
    while (seconds := measure(calls)) < _MIN_SECONDS:
        calls = max(2 * calls, int(1.2 * calls * _MIN_SECONDS / max(seconds, 1e-9)))
    return 1e3 * float(np.median([seconds, *(measure(calls) for _ in range(_REPEATS - 1))])) / calls
