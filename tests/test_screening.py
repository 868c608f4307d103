"""Predictions for many genomes at once: their order, the shortlist, and ranks."""

import jax
import numpy as np
import pytest

from jnas._search.screening import encode, predict_members, rank, shortlist
from jnas.predict import EnsembleConfig
from jnas.space import Space
from jnas.space import _genome as genome


class AgreeingEnsemble:
    """Members that predict the sum of their inputs: they agree, so the first ones know the best."""

    def __init__(self, members=4):
        self.config = EnsembleConfig(members=members)

    def subset(self, members):
        return AgreeingEnsemble(members)

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


def test_rank_follows_acquisition_rule():
    members = np.array([[0.9, 0.1, 0.5, 0.4], [0.1, 0.8, 0.5, 0.4]])
    std = np.array([0.4, 0.35, 0.0, 0.3])
    assert rank("mean", members, std, 4).tolist() == [0, 2, 1, 3]
    assert rank("ucb", members, std, 4).tolist() == [0, 1, 3, 2]
    drawn = np.stack([rank("thompson", members, std, 4, seed) for seed in range(40)])
    assert set(drawn[:, 0]) == {0, 1}  # each member's favourite
    assert (np.sort(drawn, 1) == np.arange(4)).all()
    np.testing.assert_array_equal(rank("thompson", members, std, 4, 3), drawn[3])


def test_shortlist_holds_the_best():
    space = Space(conv_num=2, lin_num=2)
    genomes = np.asarray(space.sample(jax.random.key(0), 600))
    value = predict_members(space, genomes, AgreeingEnsemble())[0]
    front = shortlist(space, genomes, AgreeingEnsemble(), 50)
    assert len(front) == 120 and value[front[0]] == value.max() and value[front].min() >= np.sort(value)[-120] - 1e-4
    assert shortlist(space, genomes, AgreeingEnsemble(), 700).tolist() == list(range(600))
