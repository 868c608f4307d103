"""Predictions for many genomes at once."""

import jax
import numpy as np
import pytest

from jnas._search.screening import encode, fit_predictor, predict, promising, stack_genomes
from jnas.space import Candidate, Space
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


def test_the_prior_keeps_the_better_quarter():
    space = Space(conv_num=2, lin_num=2)
    candidates = Candidate.from_genomes(space.sample_valid(jax.random.key(5), 40, min_count=40)[:40], space)
    prior = fit_predictor(space, [], 0)
    assert prior.scores is None, "it has seen no row"
    mean, _ = predict(space, stack_genomes(candidates, space), prior)
    kept = promising(space, candidates, prior)
    assert len(kept) == 10 and {id(one) for one in kept} == {id(candidates[i]) for i in np.argsort(-mean)[:10]}
