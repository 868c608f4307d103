"""Predictions for many genomes at once."""

import jax
import numpy as np
import pytest

from jnas._search.screening import encode, predict
from jnas.space import Space
from jnas.space import _genome as genome


class SumOfInputs:
    """Predicts the sum of what it sees, and its length as standard deviation."""

    def predict(self, sequences, lengths):
        there = np.arange(sequences.shape[1]) < lengths[:, None]
        return (sequences.astype(float).sum(-1) * there).sum(1), lengths


@pytest.mark.parametrize("count", [1, 5, 1500])
def test_predictions_keep_order_of_genomes(count):
    space = Space(conv_num=2, lin_num=2)
    genomes = np.asarray(space.sample(jax.random.key(0), count))
    found = predict(space, genomes, SumOfInputs())
    expected = SumOfInputs().predict(np.asarray(encode(space, genomes)), np.asarray(genome.lengths(genomes)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
