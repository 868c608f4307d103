"""Test-time augmentation: the views of an image over which logits are averaged."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jnas.data import hflip, translate


class Views(NamedTuple):
    """Which views of an image are classified beside itself; without arguments, none.

    With `flip`, the mirror image of each view. With a `shift` of some pixels, the image moved by so many up and left,
    and down and right; each counts half as much as the image in its place (Jordan 2024, arXiv:2404.00498, section 3.5).
    """

    flip: bool = False
    shift: int = 0

    @property
    def count(self) -> int:
        """How many views of an image there are, which is how many times the work of one it is."""
        return (1 + self.flip) * (3 if self.shift else 1)

    def mean_logits(
        self, classify: Callable[[Float[Array, "m h w c"]], Float[Array, "m classes"]], inputs: Float[Array, "n h w c"]
    ) -> Float[Array, "n classes"]:
        """Returns the weighted mean over all views of the logits that `classify` has for them."""
        moved = [inputs, translate(inputs, -self.shift), translate(inputs, self.shift)] if self.shift else [inputs]
        views = [view for image in moved for view in ([image, hflip(image)] if self.flip else [image])]
        if len(views) == 1:
            return classify(inputs)
        logits = classify(jnp.concatenate(views)).reshape(len(moved), 1 + self.flip, len(inputs), -1).mean(1)
        return logits[0] if len(moved) == 1 else (2 * logits[0] + logits[1] + logits[2]) / 4


ONE_VIEW = Views()
"""An image as it is."""
