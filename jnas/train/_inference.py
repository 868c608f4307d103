"""Classes and accuracy of a trained module, as whoever loads it would measure them, and how long they take."""

import functools
import time

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


@with_own_settings
def logits(
    module: nnx.Module, images: ArrayLike, views: Views = ONE_VIEW, in_shape: tuple[int, int, int] | None = None
) -> Float[np.ndarray, "n classes"]:
    """Returns the mean logits of the views of each image by a module in evaluation mode.

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
    if shape is None and checked.shape == (0, 1, 1, 1):  # an empty list, which says nothing of size or classes
        return np.zeros((0, 1), np.float32)
    some = checked if len(checked) else np.zeros((1, *checked.shape[1:]), np.uint8)
    parts = np.array_split(some, -(-len(some) // EVAL_BATCH_SIZE))
    return np.concatenate([np.asarray(_logits(module, jax.device_put(part), views)) for part in parts])[: len(checked)]


@functools.partial(nnx.jit, static_argnames="views")
def _logits(module: nnx.Module, images: UInt8[Array, "n h w c"], views: Views) -> Float[Array, "n classes"]:
    return views.mean_logits(module, normalise(images))


def predict(
    module: nnx.Module, images: ArrayLike, views: Views = ONE_VIEW, in_shape: tuple[int, int, int] | None = None
) -> Int[np.ndarray, " n"]:
    """Returns the class of each image; arguments and errors are those of `logits`."""
    return logits(module, images, views, in_shape).argmax(-1)


def probabilities(
    module: nnx.Module, images: ArrayLike, views: Views = ONE_VIEW, in_shape: tuple[int, int, int] | None = None
) -> Float[np.ndarray, "n classes"]:
    """Returns the probabilities of the classes of each image: the softmax of `logits`, whose arguments it has."""
    from scipy.special import softmax  # takes 0.1 s, which workers need not wait for

    return softmax(logits(module, images, views, in_shape), -1)


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
