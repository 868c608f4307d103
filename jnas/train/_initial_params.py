"""What a recipe changes in a module's initial parameters, before the first step."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from jnas.train import _whitening
from jnas.train._recipe import Recipe


def initial_params(recipe: Recipe, params: nnx.State, whitening: np.ndarray | None) -> nnx.State:
    """Returns the parameters with which training begins, from those of a new module; on the host.

    With `init="dirac"` as many filters of each convolution as it has input channels begin as the identity, and pass
    them on (Zagoruyko and Komodakis 2017, arXiv:1706.00388). The first kernel is drawn in whitened coordinates.
    """
    variables = dict(nnx.to_flat_state(params))
    kernels = [path for path, variable in variables.items() if path[-1] == "kernel" and variable[...].ndim == 4]
    changed: dict[tuple, Any] = {}
    if whitening is not None:
        changed[kernels[0]] = _whitening.apply(whitening, np.asarray(variables[kernels[0]][...]))
    if recipe.init == "dirac":
        changed |= {path: _with_identity(np.array(variables[path][...])) for path in kernels[1:]}
    for path, kernel in changed.items():
        variables[path] = variables[path].replace(jax.device_put(kernel))
    return nnx.from_flat_state(variables.items()) if changed else params


def _with_identity(kernel: np.ndarray) -> np.ndarray:
    """The kernel `[k, k, in, out]`, written over, whose first filters pass on the pixel in the middle."""
    channels, centre = min(kernel.shape[2:]), kernel.shape[0] // 2
    kernel[:, :, :, :channels] = 0
    kernel[centre, centre, range(channels), range(channels)] = 1
    return kernel
