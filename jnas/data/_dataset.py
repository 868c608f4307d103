"""Images and labels in memory, and their split into training and validation."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jnas.errors import JnasError


@dataclass(frozen=True, eq=False)
class Split:
    """The images that training may see, on the default device.

    Attributes:
      x_train, x_val: `[N, H, W, C]` uint8.
      y_train, y_val: `[N]` int32, from 0.
      classes: number of classes.
    """

    x_train: jax.Array
    y_train: jax.Array
    x_val: jax.Array
    y_val: jax.Array
    classes: int

    def shapes(self) -> Split:
        """Shapes and types in place of the images and labels: what compiling goes by."""
        arrays = (self.x_train, self.y_train, self.x_val, self.y_val)
        return Split(*(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays), self.classes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A labelled set of images of one size.

    Args:
      name: how printouts call it.
      x_train, x_test: `[N, H, W, C]` uint8, or `[N, H, W]` for one channel. There may be no test images (N = 0).
      y_train, y_test: `[N]` whole numbers from 0, or `[N, 1]`.
      classes: number of classes; None takes the largest training label plus one.

    Raises:
      JnasError: the arrays do not have these shapes and types, or a label is not below `classes`.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int | None = None

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            images, labels = _checked(self.name, split, getattr(self, f"x_{split}"), getattr(self, f"y_{split}"))
            object.__setattr__(self, f"x_{split}", images)
            object.__setattr__(self, f"y_{split}", labels)
        if len(self.y_train) < 2:
            raise JnasError(f"{self.name} has {len(self.y_train)} training images: give at least 2.")
        if len(self.x_test) and self.x_test.shape[1:] != self.x_train.shape[1:]:
            raise JnasError(
                f"{self.name} has training images of {self.x_train.shape[1:]} and test images of "
                f"{self.x_test.shape[1:]} (H, W, C): make them one size."
            )
        classes = int(self.y_train.max()) + 1 if self.classes is None else self.classes
        if classes < 2:
            raise JnasError(
                f"{self.name} has {classes} class only: there is nothing to tell apart; give at least 2 classes."
            )
        object.__setattr__(self, "classes", classes)
        for split in ("train", "test"):
            labels = getattr(self, f"y_{split}")
            outside = labels[(labels < 0) | (labels >= classes)]
            if len(outside):
                raise JnasError(
                    f"{self.name} has the label {outside[0]} in y_{split}, outside 0 to {classes - 1}: number the "
                    f"labels from 0, or state the right class count (now {classes})."
                )

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image, as templates write it."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that tell this set, image for image, from any other."""
        digest = hashlib.sha256(str(self.classes).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def split(self, validation: float, seed: int = 0) -> Split:
        """Moves the training images to the device, a share of them kept for validation.

        Args:
          validation: the share, above 0 and below 1.
          seed: which images; the same seed splits the same way everywhere.
        """
        count = round(validation * len(self.x_train))
        if not 0 < count < len(self.x_train):
            raise JnasError(
                f"A validation share of {validation} takes {count} of the {len(self.x_train)} training images: choose "
                "one above 0 and below 1 that leaves images on both sides."
            )
        order = np.random.default_rng(seed).permutation(len(self.x_train))
        val, train = np.sort(order[:count]), np.sort(order[count:])
        images = (self.x_train[train], self.y_train[train], self.x_train[val], self.y_train[val])
        return Split(*map(jnp.asarray, images), self.classes)


def _checked(name: str, split: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or min(images.shape[1:]) < 1:
        raise JnasError(
            f"{name} has x_{split} of type {images.dtype} and shape {images.shape}: give uint8 images, 0 to 255, as "
            "[N, height, width, channels]."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images) or not np.issubdtype(labels.dtype, np.integer):
        raise JnasError(
            f"{name} has y_{split} of type {labels.dtype} and shape {labels.shape} beside {len(images)} images: give "
            "one whole number an image."
        )
    if len(labels) and int(labels.max()) >= 2**31:
        raise JnasError(f"{name} has the label {labels.max()} in y_{split}: number the labels from 0.")
    return images, labels.astype(np.int32)
