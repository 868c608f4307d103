"""Images and labels in memory, and their split into training and validation images."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import operator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8
from numpy.typing import ArrayLike

from jnas.errors import JnasError


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The training and validation images with labels from 0, on the default device."""

    x_train: UInt8[Array, "n h w c"]
    y_train: Int32[Array, " n"]
    x_val: UInt8[Array, "m h w c"]
    y_val: Int32[Array, " m"]
    classes: int
    _validation_batches: dict[int, tuple[jax.Array, jax.Array]] = field(default_factory=dict, init=False)

    def validation_batches(self, size: int) -> tuple[UInt8[Array, "k b h w c"], Int32[Array, "k b"]]:
        """Returns the validation images in batches of `size`, the last one filled up with images labelled -1.

        The arrays are computed once per size.
        """
        if size not in self._validation_batches:
            count = -(-len(self.x_val) // size)
            padding = (0, count * size - len(self.x_val))
            images = jnp.pad(self.x_val, (padding, (0, 0), (0, 0), (0, 0)))
            labels = jnp.pad(self.y_val, padding, constant_values=-1)
            batches = images.reshape(count, size, *images.shape[1:]), labels.reshape(count, size)
            self._validation_batches[size] = batches
        return self._validation_batches[size]

    def shapes(self) -> Split:
        """Returns a split with a `jax.ShapeDtypeStruct` in place of each array: all that compiling needs."""
        arrays = {name: getattr(self, name) for name in ("x_train", "y_train", "x_val", "y_val")}
        shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
        return dataclasses.replace(self, **shapes)

    def __getstate__(self) -> dict:
        """Pickles leave the batches out."""
        return self.__dict__ | {"_validation_batches": {}}

    def __repr__(self) -> str:
        return (
            f"Split({self.x_train.shape[0]:,} training and {self.x_val.shape[0]:,} validation images of "
            f"{_format_size(self.x_train)}, {self.classes} classes)"
        )


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Dataset:
    """Labelled images of one size, in memory.

    Args:
      name: the name in printed texts.
      x_train: training images, `[N, H, W, C]` uint8, or `[N, H, W]` for one channel.
      y_train: their labels, `[N]` or `[N, 1]` integers from 0.
      x_test: test images like the training images; there may be none.
      y_test: their labels.
      classes: the number of classes; None for the largest training label plus one.

    Raises:
      JnasError: if the arrays have other shapes or types, or a label is not below `classes`.
    """

    name: str
    x_train: UInt8[np.ndarray, "n h w c"]
    y_train: Int32[np.ndarray, " n"]
    x_test: UInt8[np.ndarray, "m h w c"]
    y_test: Int32[np.ndarray, " m"]
    classes: int

    def __init__(
        self,
        name: str,
        x_train: ArrayLike,
        y_train: ArrayLike,
        x_test: ArrayLike,
        y_test: ArrayLike,
        classes: int | None = None,
    ):
        x_train, y_train = _validate(name, "train", x_train, y_train)
        x_test, y_test = _validate(name, "test", x_test, y_test)
        if len(y_train) < 2:
            raise JnasError(f"{name} must have at least 2 training images, got {len(y_train)}.")
        if x_test.shape[1:] != x_train.shape[1:]:
            raise JnasError(
                f"The images of {name} must have one size (H, W, C), got {x_train.shape[1:]} for training and "
                f"{x_test.shape[1:]} for testing."
            )
        try:
            classes = int(y_train.max()) + 1 if classes is None else operator.index(classes)
        except TypeError as error:
            raise JnasError(f"The number of classes of {name} must be an integer >= 2, got {classes!r}.") from error
        if not 2 <= classes < 2**31:
            raise JnasError(f"{name} must have at least 2 classes, and fewer than 2**31, got {classes}.")
        for split, labels in (("train", y_train), ("test", y_test)):
            outside = labels[(labels < 0) | (labels >= classes)]
            if len(outside):
                raise JnasError(
                    f"The labels y_{split} of {name} must be from 0 to {classes - 1}, got {outside[0]}: number the "
                    f"labels from 0, or give the right number of classes (now {classes})."
                )
        values = (name, x_train, y_train.astype(np.int32), x_test, y_test.astype(np.int32), classes)
        for attribute, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, attribute.name, value)

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image, as templates write it."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that identify the images and labels."""
        digest = hashlib.sha256(str(self.classes).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def split(self, val_fraction: float, seed: int = 0) -> Split:
        """Returns the training images on the default device, a fraction of them kept for validation.

        The same seed selects the same images on every machine.

        Raises:
          JnasError: if one side would have no images.
        """
        count = round(float(val_fraction) * len(self.x_train))
        if not 0 < count < len(self.x_train):
            raise JnasError(
                f"val_fraction must be in (0, 1) and leave images on both sides, got {val_fraction}, which is {count} "
                f"of {len(self.x_train)} images."
            )
        order = np.random.default_rng(seed).permutation(len(self.x_train))
        val, train = np.sort(order[:count]), np.sort(order[count:])
        x_train, y_train = jnp.asarray(self.x_train[train]), jnp.asarray(self.y_train[train])
        return Split(x_train, y_train, jnp.asarray(self.x_train[val]), jnp.asarray(self.y_train[val]), self.classes)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self.x_train):,} training and {len(self.x_test):,} test images of "
            f"{_format_size(self.x_train)}, {self.classes} classes)"
        )


def _format_size(images: np.ndarray | jax.Array) -> str:
    return "x".join(map(str, images.shape[1:]))


def _validate(name: str, split: str, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns images as `[N, H, W, C]` uint8 and labels as `[N]` integers."""
    images, labels = np.asarray(x), np.asarray(y)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or min(images.shape[1:]) < 1:
        raise JnasError(
            f"The images x_{split} of {name} must be uint8, from 0 to 255, of shape [N, height, width, channels], got "
            f"{images.dtype} of shape {images.shape}."
        )
    if labels.shape[1:] == (1,):
        labels = labels[:, 0]
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise JnasError(
            f"The labels y_{split} of {name} must be one integer per image ({len(images)}), got {labels.dtype} of "
            f"shape {labels.shape}."
        )
    return images, labels
