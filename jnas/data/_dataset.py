"""Images and labels in memory, and their split into training and validation images."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import warnings
from dataclasses import dataclass, field
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from jnas._validation import refuse, to_float, to_seed, to_tuple
from jnas.data._images import check_images
from jnas.data._labels import check_classes, check_labels
from jnas.data._stratification import stratify
from jnas.data._whitening import patch_whitening
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
    _whitenings: dict[int, np.ndarray] = field(default_factory=dict, init=False)
    _parts: dict[int, Split] = field(default_factory=dict, init=False)

    def take(self, count: int | None) -> Split:
        """Returns the split with so many of its training images, the same ones each time; None is all of them.

        The same object each time, so that it is sent to worker processes once.
        """
        if count is None or count >= len(self.x_train):
            return self
        if count not in self._parts:
            order = np.random.default_rng(0).permutation(len(self.x_train))[:count]
            images, labels = self.x_train[order], self.y_train[order]
            self._parts[count] = dataclasses.replace(self, x_train=images, y_train=labels)
        return self._parts[count]

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

    def patch_whitening(self, kernel_size: int) -> Float32[np.ndarray, "d d"]:
        """Returns the symmetric matrix that makes patches of the training images white, d = kernel_size² channels.

        It is computed once per size.
        """
        if kernel_size not in self._whitenings:
            self._whitenings[kernel_size] = patch_whitening(self.x_train, kernel_size)
        return self._whitenings[kernel_size]

    @property
    def class_weights(self) -> Float32[np.ndarray, " classes"]:
        """One weight a class, in inverse proportion to its training images; 1 on average over these."""
        counts = np.bincount(np.asarray(self.y_train), minlength=self.classes)
        weights = len(self.y_train) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return weights.astype(np.float32)

    def shapes(self) -> Split:
        """Returns a split with a `jax.ShapeDtypeStruct` in place of each array: all that compiling needs."""
        arrays = {name: getattr(self, name) for name in ("x_train", "y_train", "x_val", "y_val")}
        shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
        return dataclasses.replace(self, **shapes)

    def __getstate__(self) -> dict:
        """Pickles leave out what is computed from the images."""
        return self.__dict__ | {"_validation_batches": {}, "_whitenings": {}, "_parts": {}}

    def __repr__(self) -> str:
        return (
            f"Split({self.x_train.shape[0]:,} training and {self.x_val.shape[0]:,} validation images of "
            f"{_format_size(self.x_train)}, {self.classes} classes)"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Labelled images of one size, in memory.

    Images are `[N, H, W, C]` uint8, or `[N, H, W]` for one channel; labels are `[N]` or `[N, 1]` whole numbers from 0.

    Args:
      name: the name in printed texts.
      x_train: training images.
      y_train: their labels.
      x_test: test images; there may be none.
      y_test: their labels.
      classes: the number of classes; None for that of the training labels, which then have each class.
      x_val: validation images; None where a part of the training images is to be kept for validation.
      y_val: their labels.
      class_names: the names of the classes, if they are known.
      notes: sentences on how the images were read, which a search prints.

    Raises:
      JnasError: if the arrays have other shapes or types, or the labels are others.
    """

    name: str
    x_train: UInt8[np.ndarray, "n h w c"]
    y_train: Int32[np.ndarray, " n"]
    x_test: UInt8[np.ndarray, "m h w c"]
    y_test: Int32[np.ndarray, " m"]
    classes: int = cast("int", None)
    x_val: UInt8[np.ndarray, "k h w c"] | None = None
    y_val: Int32[np.ndarray, " k"] | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            refuse("The name of a data set", "text", self.name)
        if (self.x_val is None) != (self.y_val is None):
            given = "x_val" if self.y_val is None else "y_val"
            raise JnasError(f"{self.name} must have both x_val and y_val, or none of them, got only {given}.")
        values: dict[str, Any] = {}
        for split in ("train", "test") + ("val",) * (self.x_val is not None):
            x, y = f"x_{split}", f"y_{split}"
            shape = values["x_train"].shape[1:] if split != "train" else None
            values[x] = np.asarray(check_images(getattr(self, x), shape, f"{x} of {self.name}"))
            values[y] = check_labels(getattr(self, y), values[x].shape, f"{y} of {self.name}")
            least = {"train": 2, "val": 1, "test": 0}[split]
            if len(values[x]) < least:
                raise JnasError(f"{x} of {self.name} must have {least} or more images, got {len(values[x])}; add some.")
        names = None if self.class_names is None else self._to_text("class_names", self.class_names)
        if names is not None and self.classes not in (None, len(names)):
            refuse(f"class_names of {self.name}", f"one name for each of {self.classes} classes", names)
        classes = self.classes if names is None else len(names)
        values["classes"] = check_classes({y: values[y] for y in values if y[0] == "y"}, classes, self.name)
        values |= {y: values[y].astype(np.int32) for y in values if y[0] == "y"}
        values["class_names"] = names and tuple(map(_to_printable, names))
        values["notes"] = tuple(self._to_text("notes", self.notes))
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        _warn_of_pixels(self.name, values["x_train"])

    def _to_text(self, field: str, value: Any) -> tuple[str, ...]:
        texts = to_tuple(f"{field} of {self.name}", value, "a list of text")
        if not all(isinstance(text, str) and text for text in texts):
            refuse(f"{field} of {self.name}", "a list of text", texts)
        return texts

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of one image, as templates write it."""
        height, width, channels = self.x_train.shape[1:]
        return channels, height, width

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hex digits that identify the images and labels."""
        digest = hashlib.sha256(str(self.classes).encode())
        for array in (self.x_train, self.y_train, self.x_test, self.y_test, self.x_val, self.y_val):
            if array is None:
                continue
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def split(self, val_fraction: float, seed: int = 0) -> Split:
        """Returns the training images on the default device, a fraction of each class kept for validation.

        Each class that has two images has one or more on both sides. The same seed selects the same images on every
        machine. Where there are validation images of their own, these
        are taken, and all training images are for training.

        Raises:
          JnasError: if one side would have no images.
        """
        val_fraction, seed = to_float("val_fraction", val_fraction, "(0, 1)"), to_seed("seed", seed)
        if self.x_val is not None:
            x_train, y_train, x_val, y_val = map(jnp.asarray, (self.x_train, self.y_train, self.x_val, self.y_val))
            return Split(x_train, y_train, x_val, y_val, self.classes)
        count = round(val_fraction * len(self.x_train))
        if not 0 < count < len(self.x_train):
            hint = f"give {'less' if count else 'more'} than this, {count} of {len(self.x_train)} images"
            refuse("val_fraction", "such that images are left on both sides", val_fraction, hint)
        order = np.random.default_rng(seed).permutation(len(self.x_train))
        train, val = stratify(self.y_train, order, count)
        x_train, y_train = jnp.asarray(self.x_train[train]), jnp.asarray(self.y_train[train])
        return Split(x_train, y_train, jnp.asarray(self.x_train[val]), jnp.asarray(self.y_train[val]), self.classes)

    def __repr__(self) -> str:
        validation = "" if self.x_val is None else f", {len(self.x_val):,} validation"
        return (
            f"Dataset({self.name!r}, {len(self.x_train):,} training{validation} and {len(self.x_test):,} test images "
            f"of {_format_size(self.x_train)}, {self.classes} classes)"
        )


def _to_printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _format_size(images: np.ndarray | jax.Array) -> str:
    return "x".join(map(str, images.shape[1:]))


def _warn_of_pixels(name: str, images: UInt8[np.ndarray, "n h w c"]) -> None:
    """Warns of images from which nothing can be learned; they are taken, since they may be meant for a trial."""
    text = None
    if (images[:9] == images[0]).all() and (images == images[0]).all():
        text = f"The training images of {name} are all alike: nothing can be learned from them."
    elif images[:9].max() <= 1 and images.max() <= 1:
        text = f"The pixels of {name} are only 0 and 1: multiply them by 255, before they are converted to uint8."
    if text:
        warnings.warn(text, stacklevel=1)
