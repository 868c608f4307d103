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


def test_of_what_the_prior_thinks_less_than_of_all_that_was_trained_nothing_is_kept():
    space = Space(conv_num=2, lin_num=2)
    candidates = Candidate.from_genomes(space.sample_valid(jax.random.key(5), 40, min_count=40)[:40], space)
    prior = fit_predictor(space, [], 0)
    assert prior.scores is None, "it has seen no row"
    mean, _ = predict(space, stack_genomes(candidates, space), prior)
    trained = [candidates[i] for i in np.argsort(-mean)[:5]]
    assert promising(space, candidates, trained, prior, 4) == [one for one in candidates if one in trained]
    assert len(promising(space, candidates, trained[:1], prior, 4)) == 4, "as many as a round takes"
    assert promising(space, candidates, candidates[3:4], prior, 1) == [
        one for one, value in zip(candidates, mean, strict=True) if value >= mean[3]
    ]
