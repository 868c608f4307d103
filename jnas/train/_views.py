"""Test-time augmentation: the views of an image over which logits are averaged."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnas.data import hflip, translate


class Views(NamedTuple):
    """Which views of an image are classified beside itself; without arguments, none.

    With `flip`, the mirror image of each view. With a `shift` of some pixels, the image moved by so many up and left,
    and down and right; each counts half as much as the image in its place (Jordan 2024, arXiv:2404.00498).
    """

    flip: bool = False
    shift: int = 0

    @property
    def count(self) -> int:
        """How many views of an image there are, which is how many times the work of one it is."""
        return (1 + self.flip) * (3 if self.shift else 1)

    def of(self, inputs: Float[Array, "n h w c"]) -> list[Float[Array, "n h w c"]]:
        """Returns all views of images; without a flip or a shift, the images alone."""
        moved = [inputs, translate(inputs, -self.shift), translate(inputs, self.shift)] if self.shift else [inputs]
        return [view for images in moved for view in ([images, hflip(images)] if self.flip else [images])]

    def mean(self, logits: Sequence[Float[Array, "*n classes"]]) -> Float[Array, "*n classes"]:
        """Returns the weighted mean of the logits of each view, in the order of `of`."""
        mirrored = 1 + self.flip
        weights = [0.5, 0.25, 0.25] if self.shift else [1.0]
        weighted = [weights[i // mirrored] / mirrored * one for i, one in enumerate(logits)]
        return sum(weighted[1:], start=weighted[0])

    def mean_logits(
        self, classify: Callable[[Float[Array, "m h w c"]], Float[Array, "m classes"]], inputs: Float[Array, "n h w c"]
    ) -> Float[Array, "n classes"]:
        """Returns the mean of the logits that `classify` has for the views of images, all at once."""
        logits = classify(jnp.concatenate(self.of(inputs)))
        return self.mean(list(logits.reshape(self.count, len(inputs), -1)))


ONE_VIEW = Views()
"""An image as it is."""
