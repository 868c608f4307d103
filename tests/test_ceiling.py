"""What of a table is chance: nets in MetaQNN's notation in PyTorch, and how their runs differ."""

import numpy as np
import pytest
from ceiling import EPOCHS, ceiling, evaluate, whole, within


def runs_of(means, deviations, slope):
    """`[seeds, EPOCHS]` for each net: the last accuracy goes `slope` times as far from its mean as all others."""
    runs = [np.tile(mean + np.asarray(parts)[:, None], EPOCHS) for mean, parts in zip(means, deviations, strict=True)]
    for run, mean, parts in zip(runs, means, deviations, strict=True):
        run[:, -1] = mean + slope * np.asarray(parts)
    return runs


def test_what_the_first_epochs_tell_is_no_chance():
    runs = runs_of([0.4, 0.6, 0.7], [(-0.01, 0.01), (-0.02, 0.0, 0.02), (-0.01, 0.0, 0.01)], 0.5)
    squares, freedom = within(runs, 0)
    np.testing.assert_allclose(squares, 0.25 * np.array([2e-4, 8e-4, 2e-4]))
    assert freedom == 5
    left, freedom = within(runs, 5)
    assert left.max() < 1e-20 and freedom == 3
    assert within(runs, 1)[1] == 4
    found = ceiling(runs, 0, variance=0.01)
    np.testing.assert_allclose([found["r2"], found["std"]], [1 - 3e-4 / 5 / 0.01, (3e-4 / 5) ** 0.5])
    assert found["r2_low"] < found["r2"] < found["r2_high"]


def test_runs_that_were_given_up_do_not_count():
    runs = [run.tolist() for run in runs_of([0.5], [(-0.01, 0.0, 0.01)], 1.0)[0]]
    given_up = {"runs": [[0.1], *runs]}
    assert whole(given_up).shape == (3, EPOCHS) and whole({"runs": [[0.1]]}).shape == (0, EPOCHS)
    assert evaluate([given_up], 5, 0.01) == {}  # two degrees of freedom, which the regression takes
    found = evaluate([given_up, given_up], 5, 0.01)
    assert found["ceiling"]["degrees_of_freedom"] == 2 and found["without_epochs"]["degrees_of_freedom"] == 4


def test_networks_in_the_notation():
    torch = pytest.importorskip("torch")
    from ceiling import macs, network

    net = "[C(8,5,1), P(5,3), D(1,2), C(4,3,1), P(3,2), FC(16), D(2,2), SM(10)]"
    model, count = network(net)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    # The last windows stick out: 32 pixels become 10, and these 5.
    learned = [8 * 75, 4 * 72, 16 * 4 * 25, 10 * 16]
    assert count == macs(net) == learned[0] * 1024 + learned[1] * 100 + sum(learned[2:])
    assert [m.weight.numel() for m in model if hasattr(m, "weight")] == learned
    assert [m.p for m in model if isinstance(m, torch.nn.Dropout)] == [0.25, 0.5]
    assert all(abs(m.weight.std() * m.weight[0].numel() ** 0.5 - 1) < 0.2 for m in model if hasattr(m, "weight"))
    model, count = network("[C(8,1,1), GAP(10), SM(10)]")
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10) and count == 1024 * (24 + 80) + 100
