"""How good answers are, for classes that are not equally frequent too."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Int, Int32

from jnas.train._views import Views


class AnswerCounts(NamedTuple):
    """Sums over images: the loss, and for each class its images that were recognised, and those taken for it."""

    loss: Float[Array | np.ndarray, "*lanes"]
    correct: Int[Array | np.ndarray, "*lanes classes"]
    predicted: Int[Array | np.ndarray, "*lanes classes"]


def count_answers(
    logits: list[Float32[Array, "lanes n classes"]], labels: Int32[Array, " n"], views: Views
) -> AnswerCounts:
    """Returns the sums over images, whose logits those of their views give; a label of -1 counts nowhere."""
    mean = views.mean(logits)
    classes, is_there = mean.shape[-1], labels >= 0
    losses = optax.softmax_cross_entropy_with_integer_labels(mean, jnp.broadcast_to(labels.clip(0), mean.shape[:-1]))
    answers = mean.argmax(-1)

    def count(answers: Array) -> tuple[Array, Array]:
        zero = jnp.zeros(classes, jnp.int32)
        return zero.at[labels].add((answers == labels) & is_there), zero.at[answers].add(is_there)

    correct, predicted = jax.vmap(count)(answers)
    return AnswerCounts((losses * is_there).sum(-1), correct, predicted)


def measure(counts: AnswerCounts, labels: Int[Array | np.ndarray, " n"]) -> tuple[float, ...]:
    """Returns the measures of the answers to images of these labels, in the order of `Epoch`.

    These are the accuracy, the mean cross entropy, and means over classes: of how many of their images are recognised,
    and of the harmonic mean of precision and recall. Classes without images do not count.
    """
    actual = np.bincount(np.asarray(labels), minlength=len(counts.correct))
    correct, predicted = np.asarray(counts.correct), np.asarray(counts.predicted)
    is_there = actual > 0
    recall = correct[is_there] / actual[is_there]
    f1 = 2 * correct[is_there] / (actual + predicted)[is_there]
    total = len(labels)
    return float(correct.sum() / total), float(counts.loss) / total, float(recall.mean()), float(f1.mean())
