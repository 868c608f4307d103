"""How programs that are not for training are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnas._runtime import compile_options as compiler
from jnas.space import LimitedSpace, Space
from jnas.space._sampler import _sample


@compiler.jit(static_argnames="times")
def grown(x, times=2):
    """The docstring."""
    return x * times


def test_it_is_jit_with_options_of_its_own():
    assert grown.__name__ == "grown" and grown.__doc__ == "The docstring."
    assert float(grown(3.0)) == 6 and float(grown(3.0, times=4)) == 12
    before = grown.program()._cache_size()
    grown(5.0)
    assert grown.program()._cache_size() == before == 2
    twice = compiler.jit(lambda x: x + x)
    np.testing.assert_array_equal(twice(np.arange(3)), [0, 2, 4])


def test_within_another_program_it_is_a_part_of_it():
    """JAX takes no options of a program that is a part of another one."""
    before = grown.program()._cache_size()
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda x: grown(x, times=3)))(jnp.arange(3.0)), [0, 3, 6])
    assert float(jax.grad(grown)(1.0)) == 2
    assert grown.program()._cache_size() == before


@pytest.mark.parametrize("purpose", ["train", "brief", "quick"])
def test_options_are_those_that_xla_knows(purpose):
    options = compiler._options(purpose)
    if jax.default_backend() == "cpu":
        assert options.get("xla_cpu_use_fusion_emitters", True) is (purpose == "train")
    assert compiler.known_options(options | {"xla_has_no_such_option": "1"}) == options


def test_random_genomes_within_limits_are_drawn_in_few_sizes():
    space = LimitedSpace(Space((3, 8, 8), 3, conv_num=1, lin_num=1), max_params=10_000)
    space.draw(jax.random.key(0), 1100)
    before = _sample.program()._cache_size()
    some = [space.draw(jax.random.key(1), count) for count in (1101, 1500, 2047)]
    assert _sample.program()._cache_size() == before and [len(genomes) for genomes in some] == [1101, 1500, 2047]
    np.testing.assert_array_equal(some[0], some[2][:1101])
