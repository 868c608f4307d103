"""The modules of an envelope: a network whose whole architecture is run-time data.

Like those of `folded`, each holds `Gene`s and weights in the envelope's shapes, is made from the template's own module
(`None` where the template leaves the room empty), and gives the trained weights back by `unfold`. Channels that a lane
does not have are zero and stay zero; positions that it does not have are never read (see `ragged`), and where all
positions are summed, by batch norm and global pooling, they are masked.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jnas.nn import _modules as modules
from jnas.nn import folded, ragged
from jnas.nn.envelope import Envelope, Slot, anatomy, empty, place
from jnas.nn.folded import Gene, Linear, cropped, gene, padded, param
from jnas.space import Template
from jnas.space import _layers as lt


def _windows(layer: lt.Window | None, shape: lt.Shape | None) -> Gene:
    """What `ragged.Windows.square` takes, for a layer on `shape`.

    Without a layer each pixel sees itself; without a shape, nothing.
    """
    _, height, width = shape or (0, 0, 0)
    if layer is None:
        return gene((height, width, height, width, 1, 1, 0), np.int32)
    _, *out = layer.out_shape(shape)
    return gene((height, width, *out, layer.kernel_size, layer.stride, layer.pad), np.int32)


class Conv2d(nnx.Module):
    """A convolution with any window up to `maxima.sides`, on maps of any size up to `maxima.positions`."""

    def __init__(
        self, maxima: ragged.Maxima, channels: int, out_channels: int, windows: Gene, own: modules.Conv2d | None
    ):
        kernel, bias = (None, None) if own is None else (own.kernel[...], own.bias[...])
        self.kernel = param(padded(kernel, (*maxima.sides, channels, out_channels)))
        self.bias = param(padded(bias, (out_channels,)))
        self.windows, self.maxima = windows, maxima

    def __call__(self, x: jax.Array) -> jax.Array:
        return ragged.conv(x, self.kernel[...], ragged.Windows.square(*self.windows[...]), self.maxima) + self.bias[...]

    def unfold(self, own: modules.Conv2d) -> None:
        """Writes the trained weights into the template's own module."""
        own.kernel[...] = cropped(self.kernel[...], own.kernel)
        own.bias[...] = cropped(self.bias[...], own.bias)


class Pool2d(nnx.Module):
    """Max or average pooling with any window up to `maxima.sides`, or none."""

    def __init__(self, maxima: ragged.Maxima, windows: Gene, layer: lt.Window | None):
        mode = not isinstance(layer, lt.AvgPool2d), getattr(layer, "count_include_pad", True)
        self.pooling, self.windows, self.maxima = gene(mode, bool), windows, maxima

    def __call__(self, x: jax.Array) -> jax.Array:
        return ragged.pool(
            x, ragged.Windows.square(*self.windows[...]), ragged.Pooling(*self.pooling[...]), self.maxima
        )


class BatchNorm2d(folded.BatchNorm2d):
    """Batch normalisation over the pixels that the lane has, or none."""

    def __init__(self, channels: int, shape: lt.Shape | None, own: modules.BatchNorm2d | None):
        super().__init__(channels, own)
        self.sides = gene((shape or (0, 0, 0))[1:], np.int32)

    def _present(self, x: jax.Array) -> jax.Array:
        return ragged.present(*self.sides[...], x.shape[1])


class Network(nnx.Module):
    """All stages, the hidden layers and the classifier of an envelope, as one lane fills them.

    Args:
      envelope: the sizes.
      lane: a template and its own module; without them an empty lane, for the shapes alone.

    Raises:
      ValueError: the template does not fit.
    """

    def __init__(self, envelope: Envelope, lane: tuple[Template, nnx.Sequential] | None = None):
        self.envelope = envelope
        fill = _Fill(envelope, *(lane or (None, None)))
        self.stages = nnx.Sequential(*(nnx.Sequential(*fill.stage(number)) for number in range(len(envelope.stages))))
        # Where the lane leaves the stages, its map there, and whether that is pooled to one pixel.
        self.exit, self.sides = gene(fill.exit, np.int32), gene(fill.map[1:], np.int32)
        self.pooled = gene(fill.pooled, bool)
        self.hidden = nnx.Sequential(*(nnx.Sequential(*fill.hidden(number)) for number in range(len(envelope.hidden))))
        self.depth = gene(fill.depth, np.int32)
        self.classifier = Linear(envelope.features, envelope.classes, fill.maps(fill.depth), fill.module(-1))

    def __call__(self, images: jax.Array) -> jax.Array:
        x = images.reshape(len(images), -1, images.shape[-1])
        flat = None
        for number, stage in enumerate(self.stages.layers):
            x = stage(x)
            left = self._flat(x)
            flat = left if flat is None else jnp.where(self.exit[...] == number, left, flat)
        count = jnp.where(self.pooled[...], 1, self.sides[...].prod())
        x = jnp.where((jnp.arange(flat.shape[1]) < count)[:, None], flat, 0).reshape(len(images), -1)
        last = _resized(x, self.envelope.features)
        for number, layer in enumerate(self.hidden.layers, start=1):
            x = layer(x)
            last = jnp.where(self.depth[...] == number, _resized(x, self.envelope.features), last)
        return self.classifier(last)

    def _flat(self, x: jax.Array) -> jax.Array:
        """What a lane that leaves here flattens: `[N, P, C]` in the envelope's size."""
        positions = self.envelope.positions
        x = _resized(x, self.envelope.channels)
        flat = _resized(x, positions, axis=1)
        if not self.envelope.pooled:
            return flat
        total = jnp.where(ragged.present(*self.sides[...], x.shape[1]), x, 0).sum(1, keepdims=True)
        mean = total / jnp.maximum(self.sides[...].prod(), 1).astype(x.dtype)
        return jnp.where(self.pooled[...], _resized(mean, positions, axis=1), flat)

    def unfold(self, template: Template, own: nnx.Sequential) -> None:
        """Writes the trained weights into the template's own module."""
        fill = _Fill(self.envelope, template, own)
        for stages, places in ((self.stages, fill.place.stages), (self.hidden, fill.place.hidden)):
            for stage, indices in zip(stages.layers, places, strict=True):
                for module, index in zip(stage.layers, indices, strict=False):
                    if index is None or not hasattr(module, "unfold"):
                        continue
                    first = isinstance(module, Linear) and stage is self.hidden.layers[0]
                    module.unfold(own.layers[index], *([fill.maps(0)] if first else []))
        self.classifier.unfold(own.layers[-1], fill.maps(fill.depth))


class _Fill:
    """What one lane puts into the modules of an envelope.

    Attributes:
      place: which of the template's layers goes where.
      exit: the stage that the lane leaves after.
      map: its map's shape there, `(C, H, W)`.
      pooled: whether that is pooled to one pixel.
      depth: number of its hidden layers.
    """

    def __init__(self, envelope: Envelope, template: Template | None, own: nnx.Sequential | None):
        self.envelope, self.template, self.own = envelope, template, own
        self.place = empty(envelope) if template is None else place(template, envelope)
        if self.place is None:
            raise ValueError(f"the template {template.hash} does not fit the envelope")
        self.exit = sum(map(bool, self.place.stages)) - 1
        self.depth = sum(linear is not None for linear, _, _ in self.place.hidden)
        self.pooled, self.map = False, (0, 0, 0)
        if template is not None:
            self.pooled = anatomy(template).pooled is not None
            self.map = template.shapes[anatomy(template).stages[-1][-1]]

    def module(self, index: int | None) -> nnx.Module | None:
        return None if index is None or self.own is None else self.own.layers[index]

    def maps(self, before: int) -> folded.Maps | None:
        """For the Linear behind `before` hidden layers."""
        if before:
            return None
        channels, height, width = self.map
        own = (1 if self.pooled else height * width, channels)
        return own, (self.envelope.positions, self.envelope.channels)

    def hidden(self, number: int) -> list[nnx.Module]:
        """The modules of a hidden layer."""
        linear, activation, dropout = map(self.module, self.place.hidden[number])
        envelope = self.envelope
        features = envelope.hidden[number - 1] if number else envelope.positions * envelope.channels
        width = envelope.hidden[number]
        return [
            Linear(features, width, self.maps(number), linear),
            folded.Activation(width, activation),
            folded.Dropout(False, dropout),
        ]

    def stage(self, number: int) -> list[nnx.Module]:
        """The modules of a stage."""
        stage, (positions, channels) = self.envelope.stages[number], self.envelope.inputs[number]
        first, *others = self.place.stages[number] or [None] * (1 + len(stage.slots))
        layer, shape = (None, None) if first is None else (self.template.layers[first], self._before(first))
        maxima = ragged.Maxima.square(positions, stage.positions, stage.size)
        modules = [Conv2d(maxima, channels, stage.channels, _windows(layer, shape), self.module(first))]
        shape, positions = None if first is None else self.template.shapes[first], stage.positions
        for slot, index in zip(stage.slots, others, strict=True):
            modules.append(self._slot(slot, stage.channels, positions, shape, index))
            shape, positions = shape if index is None else self.template.shapes[index], slot.positions
        return modules

    def _slot(self, slot: Slot, channels: int, positions: int, shape: lt.Shape | None, index: int | None) -> nnx.Module:
        """The module of a slot, for the lane's map of `shape` in the envelope's of `positions`."""
        match slot.kind:
            case "activation":
                return folded.Activation(channels, self.module(index))
            case "norm":
                return BatchNorm2d(channels, shape, self.module(index))
        layer = None if index is None else self.template.layers[index]
        return Pool2d(ragged.Maxima.square(positions, slot.positions, slot.size), _windows(layer, shape), layer)

    def _before(self, index: int) -> lt.Shape:
        """The shape that goes into a layer."""
        return self.template.shapes[index - 1] if index else self.template.in_shape


def _resized(x: jax.Array, size: int, axis: int = -1) -> jax.Array:
    """Cut off, or filled up with zeros, at the end of an axis."""
    x = jax.lax.slice_in_dim(x, 0, min(size, x.shape[axis]), axis=axis)
    borders = [(0, 0)] * x.ndim
    borders[axis] = (0, size - x.shape[axis])
    return jnp.pad(x, borders)
