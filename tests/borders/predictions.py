"""Images to predict classes of, and labels to compare them with."""

from types import SimpleNamespace

import jax
import numpy as np
from conftest import small_arrays
from flax import nnx

import jnas
from borders import Row
from borders.data import NOT_UINT8
from jnas._search.result import EvaluatedCandidate
from jnas.space import Flatten, Linear
from jnas.train import Views, accuracy, predict

X, Y = (small_arrays(train=9)[name] for name in ("x_train", "y_train"))
_MUST = "images must be uint8, from 0 to 255, of shape [N, 8, 8, 3], got"
_SIZE = "make them 8 pixels high and 8 wide, as the images of training are"
_STACK = "give one array of numbers, with images of one size (numpy.stack makes one of a list)"


def template(channels=3):
    """A template of 8x8 pixels."""
    return jnas.Template([Flatten(), Linear(3)], (channels, 8, 8))


class Untrained(EvaluatedCandidate):
    """A candidate with initial weights."""

    def build(self):
        return self.template.build(nnx.Rngs(0))


def candidate(channels=3):
    """A candidate as a search finds it, without its row."""
    made = SimpleNamespace(template=template(channels))
    return Untrained(made, None, "random", None, None, jnas.Recipe.standard())  # type: ignore[arg-type]


def is_as_given(classes):
    """Whether these are the classes of all of `X`."""
    return classes.tolist() == predict(candidate().build(), X, Views(flip=True)).tolist()


def is_empty(classes):
    """Whether these are classes of no images."""
    return classes.shape == (0,) and np.issubdtype(classes.dtype, np.integer)


def _row(kind, images, expected, channels=3):
    expected = f"{_MUST} {expected}." if isinstance(expected, str) else expected
    return Row("EvaluatedCandidate.predict.images", kind, lambda _: candidate(channels).predict(images), expected)


def _labels(kind, labels, sentence, images=X):
    call = lambda _: accuracy(template().build(nnx.Rngs(0)), images, labels)  # noqa: E731
    return Row("train.accuracy.labels", kind, call, sentence)


ROWS = [
    *(_row("right", images, is_as_given) for images in (X, list(X), jax.numpy.asarray(X))),
    *(_row("empty", images, is_empty) for images in (X[:0], [])),
    _row("right", X[..., 0], lambda classes: classes.shape == (9,), channels=1),
    *(_row(*row) for row in NOT_UINT8),
    _row(
        "wrong value",
        X * np.float32("nan"),
        "float32 of shape (9, 8, 8, 3); scale them to pixels from 0 to 255 without NaN, and convert them to uint8",
    ),
    _row("wrong type", [X[0], X[0, :5]], f"list; {_STACK}"),
    _row("wrong value", X[0], "uint8 of shape (8, 8, 3); add an axis with images[None]"),
    _row(
        "wrong value",
        np.moveaxis(X[0], -1, 0),
        "uint8 of shape (3, 8, 8); give numpy.transpose(images, (1, 2, 0))[None]",
    ),
    _row(
        "wrong value",
        np.moveaxis(X, -1, 1),
        "uint8 of shape (9, 3, 8, 8); transpose them with numpy.transpose(images, (0, 2, 3, 1))",
    ),
    _row("wrong value", X[:, :5], f"uint8 of shape (9, 5, 8, 3); {_SIZE}"),
    _row("empty", X[:0, :5], f"uint8 of shape (0, 5, 8, 3); {_SIZE}"),
    _row("wrong value", X.reshape(9, -1), "uint8 of shape (9, 192); reshape them to (-1, 8, 8, 3)"),
    *(
        _row(
            "wrong value",
            images,
            f"uint8 of shape {images.shape}; repeat the grey channel with images.reshape(-1, 8, 8, 1).repeat(3, 3)",
        )
        for images in (X[..., 0], X[..., :1])
    ),
    _row(
        "wrong value",
        np.concatenate([X, X[..., :1]], -1),
        "uint8 of shape (9, 8, 8, 4); leave the last channel out with images[..., :3]",
    ),
    _row("wrong value", X[..., :2], "uint8 of shape (9, 8, 8, 2); give images of 3 channels"),
    Row(
        "train.accuracy.views",
        "wrong type",
        lambda _: accuracy(template().build(nnx.Rngs(0)), X, Y, True),  # type: ignore[arg-type]
        "views must be a Views, got True; give a recipe's views.",
    ),
    _labels("right", Y, lambda result: 0 <= result <= 1),
    _labels(
        "wrong value",
        Y[:4],
        "labels must be one whole number for each of 9 images, got an array of int64 of shape (4,); give as many "
        "labels as images.",
    ),
    _labels(
        "empty",
        [],
        "images must be at least one, to have an accuracy, got an array of uint8 of shape (0, 8, 8, 3).",
        X[:0],
    ),
]
