"""The longer training of the best candidates, before one of them is the winner."""

import pytest
from conftest import exhaustive, small_arrays

import jnas
from jnas._search.plan import FINAL_SHARE, PROMOTED_SHARE, make_plan, reserved_share
from jnas._search.promotion import MOST_FACTOR, affordable_factor, longer_recipe
from jnas._search.ranking import choose_after_promotion, choose_promoted, prefer_known, rank
from jnas._search.result import EvaluatedCandidate
from jnas._search.summary import result_to_json
from jnas.space import Candidate, Space
from jnas.store import Evaluation, Key
from jnas.train import Recipe

SPACE = Space((3, 8, 8), 3)


def evaluated(seed, accuracy, phase="evolved", macs=1000):
    template = SPACE.random(seed)
    key = Key(template.hash, "3x8x8", 3, "recipe", "data", 0, 0)
    row = Evaluation(key, val_acc_final=accuracy, macs=macs)
    return EvaluatedCandidate(Candidate.from_template(template, SPACE), row, phase, None, None, None)


def accuracies(ranking):
    return [one.accuracy for one in ranking]


def test_longer_searches_promote_and_short_ones_do_not():
    plans = [make_plan(60 * minutes, 40_000, 2, on_gpu=False) for minutes in (1, 3, 60, 600)]
    assert [plan.num_promoted for plan in plans] == [0, 0, 4, 4]
    without = make_plan(3600, 40_000, 2, on_gpu=False, num_promoted=0)
    assert without.num_promoted == 0 and without.train_images > 1.4 * plans[2].train_images
    assert reserved_share(0) == FINAL_SHARE and reserved_share(4) == FINAL_SHARE + PROMOTED_SHARE < 1
    assert reserved_share(4, 180) == reserved_share(4), "the shortest searches train candidates, too"
    shares = [reserved_share(0, 60 * minutes) for minutes in (1, 3, 5, 10, 60)]
    assert shares[0] == shares[1] == 0.65 and shares[3] == shares[4] == FINAL_SHARE < shares[2] < 0.65


def test_a_longer_training_has_more_images_and_then_more_epochs():
    short = Recipe.fast(epochs=3, train_images=1000)
    longer = longer_recipe(short, 5.0, 40_000)
    assert (longer.epochs, longer.train_images) == (3, 5000)
    assert (longer_recipe(short, 100, 40_000).epochs, longer_recipe(short, 100, 40_000).train_images) == (8, None)
    of_all = Recipe.fast(epochs=4)
    assert (longer_recipe(of_all, 2.6, 800).epochs, longer_recipe(of_all, 2.6, 800).train_images) == (10, None)


def test_the_factor_is_what_ends_in_time():
    key = Key("00", "3x8x8", 3, "recipe", "data", 0, 0)
    rows = [Evaluation(key, train_seconds=seconds, compile_seconds=1.0) for seconds in (4.0, 1.0, 3.0)]
    factor = affordable_factor(rows, 30.0)
    assert 8 * factor + 3 < 30 < 8 * 1.25 * factor + 3, (
        "seconds of trainings side by side are shares of those that passed"
    )
    assert affordable_factor(rows, 1.0) < 0 and affordable_factor(rows, 1e6) == MOST_FACTOR


def test_a_known_network_is_promoted_whatever_its_accuracy():
    poor, better = evaluated(2, 0.5, "known"), evaluated(3, 0.6, "known")
    ranking, known = rank([evaluated(0, 0.8), evaluated(1, 0.7), poor, better], True), [poor, better]
    assert accuracies(prefer_known(ranking, known, 10_000)) == [0.8, 0.7, 0.6, 0.5]
    assert accuracies(choose_promoted(ranking, known, 10_000, 3)) == [0.6, 0.8, 0.7]
    assert accuracies(choose_promoted(ranking, known, 10_000, 9)) == [0.6, 0.8, 0.7, 0.5]
    assert accuracies(choose_promoted(ranking, known, 7, 2)) == [0.5, 0.6], "both are as good but for noise"
    assert choose_promoted([], [], 100, 4) == [] and accuracies(choose_promoted(ranking, [], 100, 2)) == [0.8, 0.7]


def test_the_longer_training_decides():
    ranking = [evaluated(0, 0.8), evaluated(1, 0.7, "known"), evaluated(2, 0.6), evaluated(3, 0.5)]

    def order(*longer):
        rows = {
            one.candidate.hash: Evaluation(one.evaluation.key, val_acc_final=accuracy, macs=1000)
            for one, accuracy in zip(ranking, longer, strict=False)
        }
        return accuracies(choose_after_promotion(ranking, rows, 10_000, True))

    assert order(0.85, 0.88, 0.9) == [0.6, 0.7, 0.8, 0.5]
    assert order(0.85, 0.899, 0.9) == [0.7, 0.6, 0.8, 0.5], "one standard error is 0.003"


SETTINGS = {"report": False, "batch_size": 24, "max_macs": 40_000, "epochs": 1, "train_images": 24, "verbose": False}


def test_a_search_promotes_and_goes_on_from_what_was_promoted(tmp_path, fake_trainer, capsys):
    arrays, store = small_arrays(train=192), str(tmp_path / "a.duckdb")
    settings = SETTINGS | {"generations": 2, "num_promoted": 3, "final_epochs": 5, "store": store}
    result = jnas.search(arrays, **settings | {"verbose": True})
    said = capsys.readouterr().out
    assert "The best 3 are trained again, for 1 epoch of " in said and "The best, trained again: validation" in said
    promoted = [one for one in result.candidates if one.promotion is not None]
    assert len(promoted) == 3 and any(one.phase == "known" for one in promoted)
    assert all(one.promotion.key.recipe_id != one.evaluation.key.recipe_id for one in promoted)
    assert result.best.promotion is not None and len(result.best.finals[0].epochs) == 5
    told = result_to_json(result)
    assert told["winner"]["promoted_val_acc"] == result.best.promotion.val_acc_final
    assert told["known"]["promoted_val_acc"] == result.known.promotion.val_acc_final
    count = len(result.store.to_df())
    again = jnas.search(arrays, **settings)
    assert len(again.store.to_df()) == count and again.best.candidate.hash == result.best.candidate.hash
    opened = jnas.open(store)
    assert result_to_json(opened) == result_to_json(again)
    assert [one.promotion for one in opened.candidates] == [one.promotion for one in again.candidates]
    assert result.to_df().hash.is_unique, "rows of the search are those that were trained alike"


@pytest.mark.parametrize("given", [{}, *exhaustive({"num_promoted": 0}, {"num_promoted": 1})])
def test_counted_searches_promote_nothing_unless_told(given, tmp_path, fake_trainer):
    settings = SETTINGS | {"generations": 1, "final_epochs": 5, "store": str(tmp_path / "a.duckdb")}
    result = jnas.search(small_arrays(train=192), **settings | given)
    assert all(one.promotion is None for one in result.candidates)
    assert result.store.experiment(result.experiment)["promoted_recipe_id"] is None


@pytest.mark.slow
def test_time_alone_promotes_and_says_how_much_longer(tmp_path, fake_trainer, monkeypatch):
    monkeypatch.setattr("jnas._search.loop.PATIENCE", 1)
    monkeypatch.setattr("jnas._search.finish.affordable_epochs", lambda *_: 3)
    given = []

    def factor(rows, seconds):
        given.append((len(rows), seconds))
        return 4.0

    monkeypatch.setattr("jnas._search.promotion.affordable_factor", factor)
    settings = SETTINGS | {"minutes": 60, "num_promoted": 4, "store": str(tmp_path / "a.duckdb")}
    result = jnas.search(small_arrays(train=192), **settings)
    ((count, seconds),) = given
    assert count == 4 and 1000 < seconds <= 1200, "a third of what is left"
    recipe_id = result.store.experiment(result.experiment)["promoted_recipe_id"]
    recipe = Recipe.from_json(result.store.recipe_json(recipe_id))
    assert (recipe.epochs, recipe.train_images) == (1, 96)


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "trained"), [(4.0, 1), *exhaustive((1.9, 0))])
def test_what_is_not_trained_again_does_not_lose_by_that(factor, trained, tmp_path, fake_trainer, monkeypatch):
    """One network alone says nothing of the others, and what is too little time for all is left to the winner."""
    monkeypatch.setattr("jnas._search.promotion.affordable_factor", lambda *_: factor)
    monkeypatch.setattr("jnas._search.finish.affordable_epochs", lambda *_: 3)
    monkeypatch.setenv("JNAS_WORKERS", "0")

    class Stop(jnas.Callback):
        def on_search_start(self, search):
            self.search = search

        def on_promotion(self, recipe, candidates):
            self.epochs = 0

        def on_epoch_end(self, epoch):
            if hasattr(self, "epochs"):
                self.search.interrupt.by = "a test"

    settings = SETTINGS | {"minutes": 60, "generations": 1, "num_promoted": 3, "store": str(tmp_path / "a.duckdb")}
    result = jnas.search(small_arrays(train=192), callbacks=[Stop()], **settings)
    assert len(result.store.promotions(result.experiment)) == trained
    least = result.candidates[0].accuracy - 2 * (0.25 / 15) ** 0.5
    assert result.best.accuracy >= least and result.best.final.status == "ok"
    again = jnas.search(small_arrays(train=192), **settings)
    assert len(again.store.promotions(again.experiment)) == 3 * trained, "the same recipe, and the same networks"
