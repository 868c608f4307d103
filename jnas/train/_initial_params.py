"""What a recipe changes in a module's initial parameters, before the first step."""

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
    changed = {}
    for index, path in enumerate(kernels):
        kernel = np.array(variables[path][...])
        if index == 0 and whitening is not None:
            kernel = _whitening.apply(whitening, kernel)
        elif index > 0 and recipe.init == "dirac":
            channels = min(kernel.shape[2:])
            kernel[:, :, :, :channels] = 0
            centre = kernel.shape[0] // 2
            kernel[centre, centre, range(channels), range(channels)] = 1
        changed[path] = variables[path].replace(jax.device_put(kernel))
    return nnx.from_flat_state((variables | changed).items())
