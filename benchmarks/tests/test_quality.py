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

    assert choose_chain(0.9, None).template.cost.params < 300_000
    with pytest.raises(jnas.JnasError, match="give a --hash"):
        choose_chain(0.99, None)


def test_search_summary_counts_wins():
    from search import summary

    names = ("val_acc_final", "test_acc_final", "mean_of_best_5")
    runs = [
        {"full": dict.fromkeys(names, full), "random": dict.fromkeys(names, random)}
        for full, random in ((0.5, 0.4), (0.6, 0.6), (0.5, 0.6))
    ]
    found = summary(runs)
    assert found["seeds"] == 3 and found["val_acc_final"]["wins"] == found["val_acc_final"]["losses"] == 1
    claims, table = (renderer({"summary": found}) for renderer in RENDERERS["search"])
    assert claims[0].value.startswith("1 to 1, gain") and "1, 1 |" in table


@pytest.mark.exhaustive
def test_default_search_reports_accuracies(run_main, tmp_path):
    import default_search

    tiny = ("--num-random", 2, "--num-screened", 0, "--generations", 0, "--epochs", 1, "--final-epochs", 2)
    limits = ("--conv-num", 1, "--max-macs", 200000, "--final-repeats", 2, "--picture", tmp_path / "search.png")
    figures = run_main(default_search, "--seeds", 1, *tiny, *limits)["figures"]
    summary = figures["summary"]
    assert (tmp_path / "search.png").stat().st_size > 10_000
    assert len(RENDERERS["default_search"][0](figures)) == 2
    assert 0 < summary["test_acc"]["mean"] < 1 and summary["seconds"]["mean"] > 0
