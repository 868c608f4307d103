"""One architecture of a search, as genome, template and hash in one object."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array, Int8

from jnas.space._genome import LAYER_TYPE, arch_hashes, layer_type_id, to_genome
from jnas.space._layers import LeakyReLU, MaxPool2d, ReLU
from jnas.space._space import Space
from jnas.space._template import Template

_INCREASING = [layer_type_id(ReLU), layer_type_id(LeakyReLU)]
"""Activations that never fall, so the largest of a window stays the largest; the slope of PReLU may become negative."""


@dataclass(frozen=True)
class Candidate:
    """An architecture of a space, with a read-only genome and `Template.hash`; equal if these and the spaces are.

    `function_hash` is that of what it computes: templates with activations and max poolings exchanged share it.
    """

    hash: str
    function_hash: str = field(compare=False, repr=False)
    genome: Int8[np.ndarray, "l 6"] = field(compare=False, repr=False)
    space: Space = field(repr=False)

    @classmethod
    def from_genomes(cls, genomes: Int8[Array | np.ndarray, "n l 6"], space: Space) -> list[Candidate]:
        """Returns the candidates of genomes; they are not checked for validity."""
        genomes = np.array(genomes)
        genomes.flags.writeable = False
        hashes = zip(arch_hashes(genomes), _function_hashes(genomes), genomes, strict=True)
        return [cls(*values, space) for values in hashes]

    @classmethod
    def from_template(cls, template: Template, space: Space) -> Candidate:
        """Returns the candidate of a template; raises as `to_genome` does."""
        genome = to_genome(template, space.length)
        genome.flags.writeable = False
        return cls(template.hash, _function_hashes(genome[None])[0], genome, space)

    @classmethod
    def from_hash(cls, arch_hash: str, space: Space) -> Candidate:
        """Returns the candidate of a hash; raises as `from_template` and `Template.from_hash` do."""
        return cls.from_template(Template.from_hash(arch_hash, space.in_shape, space.classes), space)

    @functools.cached_property
    def template(self) -> Template:
        """The template, with the space's image shape and class count."""
        return self.space.template(self.genome)

    def _repr_svg_(self) -> str:
        """Returns the drawing that a notebook shows."""
        return self.template._repr_svg_()


def _function_hashes(genomes: Int8[Array | np.ndarray, "n l 6"]) -> list[str]:
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
