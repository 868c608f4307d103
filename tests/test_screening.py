"""Predictions for many genomes at once."""

import jax
import numpy as np
import pytest

from jnas._search.screening import encode, predict_members
from jnas.predict import EnsembleConfig
from jnas.space import Space
from jnas.space import _genome as genome


class AgreeingEnsemble:
    """Members that predict the sum of their inputs."""

    def __init__(self, members=4):
        self.config = EnsembleConfig(members=members)

    def predict_members(self, sequences, lengths):
        there = np.arange(sequences.shape[1]) < lengths[:, None]
        return np.tile((sequences.astype(float).sum(-1) * there).sum(1), (self.config.members, 1))


@pytest.mark.parametrize("count", [1, 5, 1500])
def test_predictions_keep_order_of_genomes(count):
    space = Space(conv_num=2, lin_num=2)
    genomes = np.asarray(space.sample(jax.random.key(0), count))
    seen = np.asarray(encode(space, genomes))
    members = predict_members(space, genomes, AgreeingEnsemble())
    expected = AgreeingEnsemble().predict_members(seen, np.asarray(genome.lengths(genomes)))
    np.testing.assert_allclose(members, expected, rtol=1e-4)
