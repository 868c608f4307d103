"""Whitened patches for the first convolution.

Neighbouring pixels and colours are alike, so the patches under the first kernel vary a lot in a few directions and
hardly in the others, and a gradient step that suits the former does nothing for the latter. Jordan (2024,
arXiv:2404.00498) begins networks with a frozen layer that whitens patches. Here the same is done to the coordinates in
which the first kernel is initialised and trained: kernel = whitening @ coordinates, with `Split.patch_whitening`. The
network stays as its template says, and nothing is added to its costs or to what is exported.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def apply(
    whitening: Float[Array | np.ndarray, "d d"], kernel: Float[Array | np.ndarray, "k k i o"]
) -> Float[Array | np.ndarray, "k k i o"]:
    """Returns the whitening times a kernel with its windows flattened; it is symmetric, so gradients use it too."""
    library = np if isinstance(kernel, np.ndarray) else jnp
    return library.matmul(whitening, kernel.reshape(-1, kernel.shape[-1])).reshape(kernel.shape)
