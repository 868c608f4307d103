"""Counter-based random numbers: uniform, and independent of each other."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jnas._runtime.random import choices


def test_choices_are_uniform_and_independent():
    keys = jax.random.split(jax.random.key(0), 20_000)
    found = np.asarray(jax.vmap(lambda key: choices(key, jnp.array([3, 19, 7])))(keys))
    for column, count in enumerate((3, 19, 7)):
        assert stats.chisquare(np.bincount(found[:, column], minlength=count)).pvalue > 1e-4
    pairs = np.bincount(found[:, 0] * 7 + found[:, 2], minlength=21)
    assert stats.chisquare(pairs).pvalue > 1e-4
    next_key = found[:-1, 0] * 3 + found[1:, 0]
    assert stats.chisquare(np.bincount(next_key, minlength=9)).pvalue > 1e-4
