"""Chance of single epochs, in runs where it is known."""

import json

import numpy as np
import pandas as pd
import pytest
from common import splits
from jitter import errors, jitter, main, r2, with_noise

from jnas import JnasError

NOISE = np.array([0.04, 0.02, 0.01, 0.02, 0.005, 0.005, 0.005, 0.0])
"""Standard deviation of each epoch around the level of its run; the last one is that level."""


@pytest.fixture(scope="module")
def curves():
    generator = np.random.default_rng(0)
    level = generator.uniform(0.3, 0.8, (1200, 1))
    return level + NOISE * generator.normal(size=(1200, len(NOISE)))


def test_jitter_equals_added_noise(curves):
    rows = splits(len(curves), 1000, 5)
    np.testing.assert_allclose(jitter(curves, 4, rows), NOISE[:4], rtol=0.1)


def test_with_noise_extrapolates_to_one(curves):
    rows, last = splits(len(curves), 1000, 5), curves[:, -1]
    seen, noise = curves[:, 2:3], NOISE[2:3]
    assert r2(seen, last, rows).mean() == pytest.approx(1 / (1 + noise[0] ** 2 / last.var()), abs=0.002)
    more = [with_noise(seen, np.sqrt(multiple) * noise, last, rows) for multiple in (0, 1, 2)]
    assert np.polyval(np.polyfit((0, 1, 2), more, 2), -1) == pytest.approx(1, abs=0.001)


def test_errors_come_from_test_rows_only(curves):
    rows = splits(len(curves), 1000, 2)
    assert all(not set(train) & set(test) and len(train) == 1000 for train, test in rows)
    changed = curves[:, -1].copy()
    changed[rows[0][1]] += 1  # test rows of the first split alone
    before, after = (errors(curves[:, :3], target, rows[:1])[0] for target in (curves[:, -1], changed))
    np.testing.assert_allclose(after, before + 1)


@pytest.fixture
def table(tmp_path, curves):
    frame = pd.DataFrame(curves[:60], columns=[f"acc_{i + 1}" for i in range(len(NOISE))])
    frame["net"] = "[C(8,3,1), SM(10)]"
    frame.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def run(monkeypatch, table, *arguments):
    monkeypatch.setattr("sys.argv", ["jitter.py", "--table", str(table), *arguments])
    main()


def test_main_run_ended_early_raises(monkeypatch, table):
    frame = pd.read_csv(table)
    frame.loc[7, "acc_6"] = np.nan
    frame.to_csv(table, index=False)
    with pytest.raises(JnasError, match="Row 7"):
        run(monkeypatch, table, "--target", "acc_8", "--train", "40")


def test_main_writes_what_it_prints(monkeypatch, table, tmp_path, capsys):
    options = ("--target", "acc_8", "--train", "40", "--epochs-seen", "3", "--seeds", "2")
    run(monkeypatch, table, *options, "--json", str(tmp_path / "out.json"))
    written = json.loads((tmp_path / "out.json").read_text())["figures"]
    printed = json.loads(capsys.readouterr().out)
    assert printed.items() <= written.items()
    assert len(written["jitter"]) == 3 and len(written["epochs_runs"]) == 2
    assert written["epochs"] == pytest.approx(np.mean(written["epochs_runs"]))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--target", "acc_5"), "5 epochs of runs that end with 'acc_5' tell nothing"),
        (("--target", "reward"), "'reward'"),
        (("--target", "acc_8"), "--train 400 of 60 rows"),
        (("--target", "acc_9"), "no column 'acc_9'"),
        (("--target", "acc_8", "--train", "40", "--seeds", "0"), "--seeds must be >= 1, got 0"),
        (("--target", "acc_8", "--train", "8"), "--train 8 rows tell nothing of 8 epochs"),
    ],
)
def test_main_bad_input_raises(monkeypatch, table, arguments, words):
    with pytest.raises(JnasError, match=words):
        run(monkeypatch, table, *arguments)
