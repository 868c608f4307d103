"""Predictions for many genomes at once: their order, the shortlist, and acquisition rules."""

import jax
import numpy as np
import pytest

from jnas._search.acquisition import ranked
from jnas._search.screening import bits_alone, facts_and_bits, screen, shortlist
from jnas.errors import JnasError
from jnas.predict import EnsembleConfig
from jnas.space import Space
from jnas.space import _genome as genome


class SumModel:
    """A model whose mean is the sum of its inputs."""

    def predict(self, sequences, lengths):
        there = np.arange(sequences.shape[1]) < lengths[:, None]
        return (sequences.astype(float).sum(-1) * there).sum(1), lengths.astype(float)


class AgreeingEnsemble(SumModel):
    """Members that agree, so the first ones know the best."""

    def __init__(self, members=4):
        self.config = EnsembleConfig(members=members)

    def subset(self, members):
        return AgreeingEnsemble(members)

    def predict_members(self, sequences, lengths):
        return np.tile(self.predict(sequences, lengths)[0], (self.config.members, 1))


@pytest.mark.parametrize("encoder", [bits_alone, facts_and_bits])
@pytest.mark.parametrize("count", [1, 5, 1500])
def test_screen_keeps_order_of_genomes(encoder, count):
    space = Space(conv_num=2, lin_num=2)
    genomes = space.sample(jax.random.key(0), count)
    seen = np.asarray(encoder(genomes, space))
    lengths = np.asarray(genome.lengths(genomes))
    mean, std = screen(space, genomes, SumModel(), encoder)
    np.testing.assert_allclose(mean, SumModel().predict(seen, lengths)[0], rtol=1e-4)
    np.testing.assert_array_equal(std, lengths)


def test_ranked_follows_acquisition_rule():
    members = np.array([[0.9, 0.1, 0.5, 0.4], [0.1, 0.8, 0.5, 0.4]])
    std = np.array([0.4, 0.35, 0.0, 0.3])
    assert ranked("mean", members, std, 4).tolist() == [0, 2, 1, 3]
    assert ranked("ucb", members, std, 4).tolist() == [0, 1, 3, 2]
    drawn = np.stack([ranked("thompson", members, std, 4, seed) for seed in range(40)])
    assert set(drawn[:, 0]) == {0, 1}  # each member's favourite
    assert (np.sort(drawn, 1) == np.arange(4)).all()
    np.testing.assert_array_equal(ranked("thompson", members, std, 4, 3), drawn[3])
    with pytest.raises(JnasError, match="no acquisition rule 'best': choose one of mean, ucb, thompson"):
        ranked("best", members, std, 4)


def test_shortlist_holds_the_best():
    space = Space(conv_num=2, lin_num=2)
    genomes = np.asarray(space.sample(jax.random.key(0), 600))
    value = screen(space, genomes, SumModel(), facts_and_bits)[0]
    front = shortlist(space, genomes, AgreeingEnsemble(), 50)
    assert len(front) == 120 and value[front[0]] == value.max() and value[front].min() >= np.sort(value)[-120] - 1e-4
    assert shortlist(space, genomes, AgreeingEnsemble(), 700).tolist() == list(range(600))
