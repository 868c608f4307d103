"""Scripts that measure how good something is, at toy size."""

import pytest
from claims import RENDERERS


def test_recipe_gains_are_over_the_first_line(run_main, hashes, images):
    import recipe

    options = ("--data", images, "--hashes", hashes, "--images", 256, "--validation", 64, "--epochs", 1)
    figures = run_main(recipe, *options, "--seeds", 1, "--only", "no flips")["figures"]
    lines = figures["recipes"]
    assert "| no flips |" in RENDERERS["recipe"][1](figures)
    assert set(lines) == {"standard", "no flips"} and lines["standard"]["gain_mean"] == 0
    assert lines["no flips"]["gain_mean"] == pytest.approx(
        lines["no flips"]["val_acc_mean"] - lines["standard"]["val_acc_mean"]
    )


def test_speedrun_times_a_chain_from_the_start_of_python(run_main, hashes, images):
    import speedrun

    hash = hashes.read_text().split()[1].split(",")[0]
    options = ("--data", images, "--hash", hash, "--epochs", 1, "--changes", '{"batch_size": 64}', "--seeds", 1)
    figures = run_main(speedrun, *options, "--target", 0.001)["figures"]
    claims, table = (renderer(figures) for renderer in RENDERERS["speedrun"])
    assert 0 < figures["seconds_to_target"] == figures["seconds"] and figures["macs"] < 1e6
    assert claims[0].n == "1 seed" and f"{figures['val_acc']:.4f}" in table
    measured = run_main(speedrun, *options, "--target", 0.99, "--all-images")["figures"]
    assert measured["seconds_to_target"] is None and measured["val_acc"] is None and 0 <= measured["test_acc"] <= 1


def test_speedrun_knows_no_chain_for_every_target():
    from speedrun import choose_chain

    import jnas

    assert choose_chain(0.9, None).template.cost.params < 600_000
    with pytest.raises(jnas.JnasError, match="give a --hash"):
        choose_chain(0.99, None)


def test_outcome_counts_who_is_ahead():
    from outcome import FIGURES, summary

    found = summary(
        [
            {"seed": seed, "search": dict.fromkeys(FIGURES, search), "known": dict.fromkeys(FIGURES, known)}
            for seed, (search, known) in enumerate(((0.5, 0.4), (0.6, 0.6), (0.5, 0.6)))
        ]
    )
    assert found["known"]["search_ahead"] == 1 and found["known"]["gain"]["mean"] == pytest.approx(0)
    claims, table = (renderer({"minutes": 3, "summary": found, "runs": [1, 2, 3]}) for renderer in RENDERERS["outcome"])
    assert claims[0].text.endswith("(the best hand-made network with the same time: 0.533)") and "1 of 3 |" in table


def test_outcome_runs_only_the_seeds_that_a_file_lacks(run_main, monkeypatch):
    import outcome

    asked = []

    def searched(folder, options):
        asked.append(options[options.index("--seed") + 1])
        return dict.fromkeys(outcome.FIGURES, 1.0)

    monkeypatch.setattr(outcome, "searched", searched)
    run_main(outcome, "--seeds", 1, "--kinds", "search")
    figures = run_main(outcome, "--seeds", 2, "--kinds", "search")["figures"]
    assert asked == ["0", "1"] and [one["seed"] for one in figures["runs"]] == [0, 1]
    run_main(outcome, "--seeds", 1, "--kinds", "search", "--minutes", 1)
    assert asked == ["0", "1", "0"] and figures["runs"][0]["search"]["commit"]


@pytest.mark.exhaustive
def test_outcome_of_three_kinds_of_search(run_main, tmp_path):
    import outcome

    tiny = ("--epochs", 1, "--final-epochs", 2, "--conv-num", 2, "--max-macs", 200000, "--max-trials", 3)
    figures = run_main(outcome, "--seeds", 1, *tiny, "--picture", tmp_path / "search.png")["figures"]
    assert (tmp_path / "search.png").stat().st_size > 10_000 and set(figures["summary"]) == {
        "search",
        "known",
        "random",
    }
    assert 0 < figures["summary"]["search"]["test_acc"]["mean"] < 1 and figures["runs"][0]["known"]["trials"] <= 3


def test_fidelity_correlates_short_and_long_trainings(run_main, images, monkeypatch):
    import fidelity

    monkeypatch.setattr(fidelity, "MAX_MACS", 200_000)
    monkeypatch.setattr(fidelity, "SAMPLES", 9)
    options = ("--data", images, "--templates", 3, "--epochs", 1, "--times", 2, "--images", 256, "--validation", 64)
    figures = run_main(fidelity, *options, "--recipes", "standard")["figures"]
    assert -1 <= figures["standard"]["kendall_tau"] <= 1 and len(figures["standard"]["long"]) == 3
    assert "| standard |" in RENDERERS["fidelity"][1](figures)


def test_a_table_is_made_in_parts(run_main, images, monkeypatch, tmp_path):
    import csv
    import gzip

    import make_table

    import jnas

    for name, value in (("IMAGES", 128), ("VAL_IMAGES", 64), ("EPOCHS", 1), ("MAX_MACS", 1_000_000)):
        monkeypatch.setattr(make_table, name, value)
    table = tmp_path / "table.csv.gz"
    options = ("--data", images, "--csv", table)
    assert run_main(make_table, *options, "--templates", 3, "--minutes", 0)["figures"] == {"lines": 0, "left": 5}
    assert run_main(make_table, *options, "--templates", 1)["figures"] == {"lines": 3, "left": 0}
    assert run_main(make_table, *options, "--templates", 3)["figures"] == {"lines": 5, "left": 0}
    with gzip.open(table, "rt") as file:
        lines = list(csv.DictReader(file))
    assert len({(line["hash"], line["seed"]) for line in lines}) == 5
    assert [line["seed"] for line in lines].count("0") == 3 and {line["source"] for line in lines} >= {"sophius"}
    assert all(float(line["val_acc"]) == pytest.approx(float(line["acc_1"]), abs=1e-5) for line in lines)
    assert all(float(line["train_loss_1"]) > 0 for line in lines)
    assert jnas.Template.from_hash(lines[0]["hash"]).cost.macs == int(lines[0]["macs"])


def test_a_prior_is_trained_and_tried_on_other_rows(run_main, monkeypatch, tmp_path):
    import predictor
    import train_prior

    import jnas
    from jnas.predict import EnsembleConfig, Prior

    small = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=20)
    monkeypatch.setattr(Prior.fit.__func__, "__defaults__", (0, small))
    table = tmp_path / "table.csv"
    jnas.load_table().head(70).to_csv(table, index=False)
    trained = run_main(train_prior, "--table", table, "--out", tmp_path / "prior.npz")["figures"]
    assert trained["rows"] == jnas.load_table().head(70).hash.nunique() and trained["r2_of_training"] > 0
    assert repr(Prior.load(tmp_path / "prior.npz")) == "Prior(members=2, hidden_dim=4)"
    options = ("--table", table, "--target", "val_acc", "--seeds", 1)
    alone = run_main(predictor, *options, "--train", 0)["figures"]["models"]
    assert list(alone) == ["jnas"] and alone["jnas"]["tau"] > 0.5  # these very rows have trained the one that ships
    few = run_main(predictor, *options, "--train", 12, "--prior-rows", 30, "--models", "jnas", "ridge")["figures"]
    assert few["rows"] == trained["rows"] and -1 < few["models"]["jnas"]["tau"] < 1
    with pytest.raises(jnas.JnasError, match="--prior-rows must be <= "):
        run_main(predictor, *options, "--train", 12, "--prior-rows", 60)


def test_the_prior_is_compared_with_macs_on_digits(run_main, monkeypatch):
    import transfer

    from jnas.store import Evaluation
    from jnas.train import make_key

    pytest.importorskip("sklearn")

    def evaluate(templates, data, recipe, **_):
        macs = [template.cost.macs for template in templates]
        keys = [make_key(transfer.jnas.Trial(template), recipe, data, 0) for template in templates]
        return [Evaluation(key, val_acc_final=x / max(macs), macs=x) for key, x in zip(keys, macs, strict=True)]

    monkeypatch.setattr(transfer.jnas, "evaluate", evaluate)
    figures = run_main(transfer, "--templates", 12)["figures"]
    assert figures["rows"] == 12 and figures["tau_of_macs"] == pytest.approx(1) and -1 <= figures["tau"] <= 1
    claims, table = (renderer(figures) for renderer in RENDERERS["transfer"])
    assert claims[0].n == "12 networks" and "| logarithm of MACs | 1.000 |" in table
