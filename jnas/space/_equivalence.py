"""Templates that compute the same function, of which a search needs to train one."""

import numpy as np
from jaxtyping import Array, Int8

from jnas.space._genome import LAYER_TYPE, arch_hashes, layer_type_id
from jnas.space._layers import LeakyReLU, MaxPool2d, ReLU

_INCREASING = [layer_type_id(ReLU), layer_type_id(LeakyReLU)]
"""Activations that never fall, so the largest of a window stays the largest; the slope of PReLU may become negative."""


def function_hashes(genomes: Int8[Array | np.ndarray, "n l 6"]) -> list[str]:
    """Returns a hash of what each genome computes: equal where activations and max poolings are only exchanged.

    It is `Template.hash` of the genome with max poolings before activations that never fall, and no ReLU twice.
    """
    genomes = np.array(genomes)
    pool, relu = layer_type_id(MaxPool2d), layer_type_id(ReLU)
    while True:
        types = genomes[..., LAYER_TYPE]
        row, layer = np.nonzero(np.isin(types[:, :-1], _INCREASING) & (types[:, 1:] == pool))
        if not len(row):
            break
        genomes[row, layer], genomes[row, layer + 1] = genomes[row, layer + 1], genomes[row, layer].copy()
    genomes[:, 1:][(types[:, :-1] == relu) & (types[:, 1:] == relu)] = 0  # `arch_hashes` leaves empty rows out
    return arch_hashes(genomes)
