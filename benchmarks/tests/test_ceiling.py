"""What of a table is chance: nets in MetaQNN's notation in PyTorch, and how their runs differ."""

import numpy as np
import pytest
from ceiling import EPOCHS, ceiling, evaluate, main, whole, within
from tables import parse

from jnas import JnasError


def runs_of(means, deviations, slope):
    """`[seeds, EPOCHS]` for each net: the last accuracy goes `slope` times as far from its mean as all others."""
    runs = [np.tile(mean + np.asarray(parts)[:, None], EPOCHS) for mean, parts in zip(means, deviations, strict=True)]
    for run, mean, parts in zip(runs, means, deviations, strict=True):
        run[:, -1] = mean + slope * np.asarray(parts)
    return runs


def test_within_regression_on_epochs_removes_what_they_tell():
    runs = runs_of([0.4, 0.6, 0.7], [(-0.01, 0.01), (-0.02, 0.0, 0.02), (-0.01, 0.0, 0.01)], 0.5)
    squares, freedom = within(runs, 0)
    np.testing.assert_allclose(squares, 0.25 * np.array([2e-4, 8e-4, 2e-4]))
    assert freedom.tolist() == [1, 2, 2]
    left, freedom = within(runs, 5)
    assert left.max() < 1e-20
    np.testing.assert_allclose(freedom, 0.6 * np.array([1, 2, 2]))
    assert within(runs, 1)[1].sum() == pytest.approx(4)
    found = ceiling(runs, 0, variance=0.01)
    np.testing.assert_allclose([found["r2"], found["std"]], [1 - 3e-4 / 5 / 0.01, (3e-4 / 5) ** 0.5])
    assert found["r2_low"] < found["r2"] < found["r2_high"] < 1 and found["nets"] == 3


def test_evaluate_runs_given_up_do_not_count():
    runs = [run.tolist() for run in runs_of([0.5], [(-0.01, 0.0, 0.01)], 1.0)[0]]
    given_up = {"runs": [[0.1], *runs]}
    assert whole(given_up).shape == (3, EPOCHS) and whole({"runs": [[0.1]]}).shape == (0, EPOCHS)
    assert evaluate([given_up, given_up, {"runs": [[0.1], runs[0]]}], 5, 0.01) == {}
    found = evaluate([given_up] * 3, 5, 0.01)
    assert found["ceiling"]["degrees_of_freedom"] == 4 and found["without_epochs"]["degrees_of_freedom"] == 6


@pytest.mark.parametrize("window, stride", [(5, 3), (3, 2), (2, 2)])
def test_parse_pooling_has_pytorch_sides(window, stride):
    torch = pytest.importorskip("torch")
    pool = torch.nn.MaxPool2d(window, stride, ceil_mode=True)
    first = parse(f"[P({window},{stride}), P(2,2), P({window},{stride})]")
    maps = torch.zeros(1, 3, 32, 32)
    for layer, module in zip(first, (pool, torch.nn.MaxPool2d(2, 2, ceil_mode=True), pool), strict=True):
        maps = module(maps)
        assert maps.shape[1:] == (layer.after[0], layer.after[1], layer.after[1])


def test_network_has_parsed_layers():
    torch = pytest.importorskip("torch")
    from ceiling import macs, network

    net = "[C(8,5,1), P(3,2), D(1,2), C(4,3,1), P(3,2), FC(16), D(2,2), SM(10)]"
    model = network(net)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    learned = [8 * 75, 4 * 72, 16 * 4 * 64, 10 * 16]
    assert macs(net) == learned[0] * 1024 + learned[1] * 256 + sum(learned[2:])
    assert [m.weight.numel() for m in model if hasattr(m, "weight")] == learned
    assert [m.p for m in model if isinstance(m, torch.nn.Dropout)] == [0.25, 0.5]
    assert all(abs(m.weight.std() * m.weight[0].numel() ** 0.5 - 1) < 0.2 for m in model if hasattr(m, "weight"))
    assert network("[C(8,1,1), P(3,2), GAP(10), SM(10)]")(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_train_learns_and_repeats(npz, monkeypatch):
    pytest.importorskip("torch")
    import ceiling

    images = ceiling.load(str(npz), "cpu")
    assert images.x_train.shape == (1440, 3, 32, 32) and abs(images.x_train.mean()) < 1e-5
    monkeypatch.setattr(ceiling, "EPOCHS", 2)
    net = "[C(8,3,1), P(5,3), D(1,2), SM(10)]"
    runs = [ceiling.train(net, 1e-3, images, seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2] and len(runs[0]) == 2 and runs[0][-1] > 0.3
    lower = ceiling.train(net, 1e-3, images, 0, bfloat16=True)
    assert lower != runs[0] and lower == pytest.approx(runs[0], abs=0.2)
    assert len(ceiling.train(net, 0.0, images, 0)) == 1  # learns nothing, and is given up


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--seeds", "1"], "tell nothing"),
        (["--rows", "7"], "no row 7"),
        (["--most-macs", "0"], "No net"),
        (["--data", "excerpt.npz"], "no file or folder"),
    ],
)
def test_main_bad_input_raises(arguments, sentence, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    path = tmp_path / "table.csv"
    names = ",".join(f"acc_{i}" for i in range(1, EPOCHS + 1))
    path.write_text(f'net,lr,{names}\n"[C(8,3,1), SM(10)]",.001,{",".join(["0.5"] * EPOCHS)}\n')
    monkeypatch.setattr("sys.argv", ["ceiling.py", "--table", str(path), "--data", "excerpt", *arguments])
    with pytest.raises(JnasError, match=sentence):
        main()


@pytest.fixture
def npz(tmp_path):
    generator, arrays = np.random.default_rng(0), {}
    for split, count in (("train", 1600), ("test", 10)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 120, (count, 32, 32, 3))
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 2] += 120  # a bright stripe tells the class
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels}
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    return path
