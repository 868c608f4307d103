"""How the time of a search is spent, and the networks that it begins with."""

import signal

import numpy as np
import pytest
from conftest import small_arrays

import jnas
from jnas._search.callbacks import Callback
from jnas._search.plan import make_plan
from jnas._search.result import EvaluatedCandidate
from jnas._search.speed import Speed, affordable_epochs, measure_speed
from jnas._search.summary import compare_with_known
from jnas.space import BatchNorm2d, Candidate, Conv2d, Space, describe_chain, known_networks
from jnas.store import Evaluation, Key
from jnas.train import Recipe, Trainer

CIFAR = Space(max_macs=5_500_000, style="modern")


def test_with_more_time_networks_are_larger_and_trained_for_longer():
    plans = [make_plan(60 * minutes, 3200, 2, on_gpu=False) for minutes in (0.1, 1, 3, 10, 60, 6000)]
    for name in ("max_macs", "final_epochs"):
        values = [getattr(plan, name) for plan in plans]
        assert values == sorted(values) and values[0] < values[-1]
    assert all(1 <= plan.epochs < plan.final_epochs and plan.train_images <= 3200 for plan in plans)


def test_with_more_images_a_candidate_is_trained_on_a_part_of_them():
    few, many = (make_plan(3600, count, 2, on_gpu=False) for count in (3200, 36_000))
    assert many.train_images < 36_000 / 4 and many.final_epochs < few.final_epochs and many.max_macs < few.max_macs
    assert make_plan(180, 50, 2, on_gpu=False).train_images == 50


def test_more_cores_and_a_gpu_train_more():
    sizes = [
        make_plan(180, 3200, cores, gpu).max_macs for cores, gpu in ((1, False), (2, False), (8, False), (8, True))
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (3, 64, 48), (3, 1, 1), (3, 224, 224)])
def test_known_networks_are_chains_within_the_limits(shape):
    space = Space(shape, 7, style="modern", max_macs=20_000_000)
    found = known_networks(space)
    assert len({template.hash for template in found}) == len(found) and found
    for template in found:
        assert template.cost.macs <= 20_000_000 and template.classes == 7 and template.in_shape == shape
        assert sum(isinstance(layer, Conv2d) for layer in template.layers) == sum(
            isinstance(layer, BatchNorm2d) for layer in template.layers
        )
    candidates = [Candidate.from_template(template, space) for template in found]
    genomes = np.array([candidate.genome for candidate in candidates])
    assert np.asarray(space.valid(genomes)).all(), "evolution may begin with them"


def test_the_largest_known_network_of_each_kind_comes_first():
    found = known_networks(CIFAR)
    assert [describe_chain(template) for template in found[:4]] == [
        "conv8-conv16-pool-conv16-conv32-pool-conv32-conv64-pool-conv64-pool-linear",
        "conv16-conv16-pool-conv16-conv16-pool-conv32-conv32-pool-linear",
        "conv16-pool-conv16-conv16-pool-conv64-conv64-pool-linear",
        "conv32-pool-conv32-pool-conv96-pool-linear",
    ]
    assert [chain.cost.macs for chain in found[:4]] == [4_441_696, 4_871_168, 4_581_376, 5_028_864]
    assert known_networks(Space(max_params=100)) == []


def test_epochs_follow_from_the_time_that_is_left():
    data, recipe = jnas.load_data(small_arrays()), Recipe(batch_size=24)
    split = data.split(0.2)
    speed = Speed(compile_seconds=2.0, seconds_per_image=0.01)
    one, two = (affordable_epochs(100, [speed] * count, 1, recipe, split, data) for count in (1, 2))
    images = len(split.x_train) + len(split.x_val) / 3
    assert one * images * 0.01 < 100 - 2 < (one + 20) * images * 0.01 and two <= one / 2
    assert affordable_epochs(100, [speed], 2, recipe, split, data) <= one / 2
    assert affordable_epochs(-5, [speed], 1, recipe, split, data) == 1
    assert affordable_epochs(100, [None], 1, recipe, split, data) == 1


def test_the_speed_of_a_network_is_measured(monkeypatch):
    split, recipe = jnas.load_data(small_arrays()).split(0.2), Recipe(batch_size=24)
    template = known_networks(Space((3, 8, 8), 3, max_macs=50_000))[-1]
    speed = measure_speed(template, recipe, split, None)
    assert speed is not None and 0 < speed.seconds_per_image < 1 and speed.compile_seconds > 0
    monkeypatch.setattr(Trainer, "train_until", lambda *_: 1 / 0)
    assert measure_speed(template, recipe, split, None) is None


def test_a_winner_is_compared_with_the_best_known_network():
    def candidate(template, accuracy, phase="evolved"):
        key = Key(template.hash, "3x32x32", 10, "recipe", "data", 0, 0)
        return EvaluatedCandidate(
            Candidate.from_template(template, CIFAR), Evaluation(key, val_acc_final=accuracy), phase, None, None, None
        )

    large, small = known_networks(CIFAR)[0], known_networks(CIFAR)[-1]
    told = compare_with_known(candidate(small, 0.7), candidate(large, 0.6), 800)
    assert told.startswith("After the same training in the search it is 0.1000 ahead of the best network that it began")
    params, macs = small.cost.params / large.cost.params, small.cost.macs / large.cost.macs
    name = "conv8-conv16-pool-conv16-conv32-pool-conv32-conv64-pool-conv64-pool-linear"
    assert f"({name}, 0.6000), with {params:.2g} times its parameters and {macs:.2g} times" in told
    assert told.endswith("the noise of such a difference is 0.0237 (800 images).")
    assert "behind the best" in compare_with_known(candidate(small, 0.5), candidate(large, 0.6), 800)
    same = compare_with_known(candidate(small, 0.7, "known"), candidate(large, 0.71, "known"), 800)
    assert same.startswith("The search found nothing better, beyond the noise, than what it began with (conv8-")


@pytest.mark.slow
def test_a_search_begins_with_known_networks_and_templates_of_ones_own(tmp_path, fake_trainer, capsys):
    own = Space((3, 8, 8), 3).random(4).hash
    settings = {"num_random": 2, "generations": 1, "trials_per_generation": 2, "batch_size": 24, "start": [own]}
    result = jnas.search(small_arrays(), store=str(tmp_path / "a.duckdb"), **settings)
    frame = result.to_df()
    assert frame.hash[0] == own and frame.phase.tolist()[:5] == ["known"] * 5 and frame.phase[5] == "random"
    assert result.known.evaluation.val_acc_final == frame[frame.phase == "known"].val_acc_final.max()
    said = "than what it began with" if result.best.phase == "known" else "the best network that it began with"
    assert said in capsys.readouterr().out


def test_who_presses_ctrl_c_waits_for_a_winner_in_proportion_to_the_search(tmp_path, fake_trainer, monkeypatch):
    seconds = []

    class Impatient(Callback):
        has_pressed = False

        def on_trial_end(self, candidate):
            if not self.has_pressed:
                self.has_pressed = True
                signal.raise_signal(signal.SIGINT)

    def note(left, *_):
        seconds.append(left)
        return 1

    monkeypatch.setattr("jnas._search.finish.affordable_epochs", note)
    settings = {"minutes": 60, "batch_size": 24, "max_macs": 40_000, "epochs": 3, "store": str(tmp_path / "a.duckdb")}
    final = jnas.search(small_arrays(), callbacks=[Impatient()], **settings).best.final
    assert final.status == "ok" and len(final.epochs) == 3, "as many as in the search, though the time is for one"
    assert len(seconds) == 1 and 0 < seconds[0] < 60


@pytest.mark.slow
def test_a_search_that_finds_nothing_better_leaves_the_time_to_the_winner(tmp_path, fake_trainer, monkeypatch, capsys):
    monkeypatch.setattr("jnas._search.loop.PATIENCE", 1)
    monkeypatch.setattr("jnas._search.finish.affordable_epochs", lambda *_: 1)
    settings = {"minutes": 60, "batch_size": 24, "max_macs": 40_000, "epochs": 1, "store": str(tmp_path / "a.duckdb")}
    settings |= {"trials_per_generation": 2, "report": False}
    frame = jnas.search(small_arrays(), **settings).to_df()
    assert "The search ended as the last 2 networks were no better: the time" in capsys.readouterr().out
    evolved = frame[frame.phase == "evolved"]
    assert len(evolved) == 2 * evolved.generation.nunique() >= 2
    assert jnas.search(small_arrays(), **settings).to_df().equals(frame)


def test_a_latency_that_no_network_has_is_told(tmp_path, fake_trainer, monkeypatch):
    monkeypatch.setattr("jnas._search.objectives.latency_ms", lambda *_: 1.0)
    monkeypatch.setattr("jnas._search.proposer._MAX_LATENCY_ATTEMPTS", 2)
    settings = {"max_latency_ms": 1e-3, "batch_size": 24, "max_macs": 40_000, "max_trials": 1}
    with pytest.raises(jnas.JnasError, match=r"None of \d+ random templates satisfies max_latency_ms 0.001: raise the"):
        jnas.search(small_arrays(), store=str(tmp_path / "a.duckdb"), verbose=False, **settings)


def test_candidates_are_trained_on_a_part_of_the_images(tmp_path, fake_trainer):
    settings = {"num_random": 0, "generations": 0, "batch_size": 24, "epochs": 1, "final_epochs": 1, "max_macs": 40_000}
    result = jnas.search(
        small_arrays(train=192), train_images=48, store=str(tmp_path / "a.duckdb"), verbose=False, **settings
    )
    recipes = [jnas.Recipe.from_json(text) for text in result.store.sql("SELECT recipe_json FROM recipes").recipe_json]
    assert sorted(recipe.train_images or 0 for recipe in recipes) == [0, 48]
