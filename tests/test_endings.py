"""How a search ends: by a budget, by Ctrl-C, and what is there then."""

import signal
import threading

import pytest
from conftest import small_arrays

import jnas
from jnas._search.callbacks import Callback
from jnas._search.config import SearchConfig
from jnas._search.stopping import catch_interrupt, stop_reason
from jnas.errors import JnasError

pytestmark = pytest.mark.usefixtures("small_predictor")

TINY = {
    "num_random": 3,
    "known_networks": False,
    "space": "sophius",
    "trials_per_generation": 2,
    "epochs": 1,
    "final_epochs": 2,
    "final_repeats": 1,
    "report": False,
}
TINY |= {"conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 100_000}


def searched(folder, **settings):
    return jnas.search(small_arrays(), store=str(folder / "results.duckdb"), **{"verbose": False} | TINY | settings)


def rows(result):
    return result.to_df()[["phase", "hash", "val_acc_final"]].values.tolist()


def test_a_number_of_templates_ends_it_and_a_larger_one_continues(tmp_path, fake_trainer, capsys):
    few = searched(tmp_path, max_trials=4, verbose=True)
    assert "The search ended after 4 templates." in capsys.readouterr().out
    first = rows(few)
    assert len(first) == 4 and few.best.final.status == "ok" and few.best.final.test_acc_final is not None
    assert few.store.sql("SELECT num_trained FROM generations").num_trained.tolist() == [3]  # the second is not done
    more = searched(tmp_path, max_trials=6, verbose=True)
    assert "It goes on: what an earlier run has trained is shown again first (4)." in capsys.readouterr().out
    second = rows(more)
    assert second[:4] == first and len(second) == 6 and more.experiment == few.experiment
    whole = searched(tmp_path, generations=2)
    assert rows(whole)[:6] == second and len(rows(whole)) == 7
    assert whole.store.sql("SELECT num_trained FROM generations ORDER BY generation").num_trained.tolist() == [3, 2, 2]


def test_an_accuracy_that_is_enough_ends_it(tmp_path, fake_trainer, capsys):
    result = searched(tmp_path, target_accuracy=0.05, verbose=True)
    assert 1 <= len(rows(result)) <= 3 and result.best.final.status == "ok"
    assert "The search ended at a validation accuracy of" in capsys.readouterr().out


def test_minutes_end_it(tmp_path, fake_trainer, monkeypatch, capsys):
    """The clock jumps when the fourth template is trained; without any other limit generations go on for ever."""
    trained, jump = [], [0.0]
    advance, clock = fake_trainer.train_until, __import__("time").monotonic

    def counted(self, *args):
        trained.append(1)
        if len(trained) == 4:
            jump[0] = 3600.0
        return advance(self, *args)

    monkeypatch.setattr(fake_trainer, "train_until", counted)
    monkeypatch.setattr("jnas._search.setup.time.monotonic", lambda: clock() + jump[0])
    result = searched(tmp_path, minutes=30, verbose=True)
    assert 4 <= len(rows(result)) <= 5  # two train at the same time
    assert result.best.final.status == "ok" and "for its limit of 30 minutes" in capsys.readouterr().out


def test_the_first_network_may_take_the_time_that_is_kept_for_the_winner(tmp_path, fake_trainer, monkeypatch):
    jump, clock = [0.0], __import__("time").monotonic

    class Late(Callback):
        def on_round_start(self, round, num_trials):
            jump[0] = 35.0

    monkeypatch.setattr("jnas._search.setup.time.monotonic", lambda: clock() + jump[0])
    result = searched(tmp_path, minutes=1, final_epochs=None, callbacks=[Late()])
    assert 1 <= len(rows(result)) <= 3 and result.best.final.status == "ok"


def test_the_winners_training_is_within_the_minutes():
    config = SearchConfig(minutes=2, final_epochs=10, final_repeats=3)
    assert stop_reason(config, 5, 0.5, seconds=19, reserve=100, interrupted_by="") is None
    told = stop_reason(config, 5, 0.5, seconds=21, reserve=100, interrupted_by="")
    assert told == "for its limit of 2 minutes, of which 99 s are left for training the best for longer"


def test_ctrl_c_once_finishes_what_trains_and_the_winner(tmp_path, fake_trainer, monkeypatch, capsys):
    advance, count = fake_trainer.train_until, iter(range(100))

    def interrupted(self, *args):
        if next(count) == 1:
            signal.raise_signal(signal.SIGINT)
        return advance(self, *args)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(fake_trainer, "train_until", interrupted)
        few = searched(tmp_path, generations=1, verbose=True)
    assert signal.getsignal(signal.SIGINT) is before
    first = rows(few)
    assert 2 <= len(first) <= 3 and few.best.final.status == "ok"
    told = capsys.readouterr().out
    assert "Stopping: what is in training is finished" in told and "The search ended by Ctrl-C" in told
    whole = searched(tmp_path, generations=1)
    # Two train at the same time, so the last one of the round may be done before the first:
    assert [row for row in rows(whole) if row in first] == first and len(rows(whole)) == 5
    (tmp_path / "other").mkdir()
    assert rows(searched(tmp_path / "other", generations=1)) == rows(whole)


def test_ctrl_c_twice_ends_now_and_keeps_what_is_finished(tmp_path, fake_trainer):
    class Twice(Callback):
        def on_trial_end(self, candidate):
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, generations=1, callbacks=[Twice()])
    assert len(jnas.Store(tmp_path / "results.duckdb").to_df()) >= 1


def test_limits_that_nothing_satisfies_are_a_sentence(tmp_path, fake_trainer):
    few = {"known_networks": True, "num_random": 0, "generations": 0, "max_macs": 10}
    with pytest.raises(JnasError, match="max_macs 10 must admit a network that people build by hand, got none; raise"):
        searched(tmp_path, **few)


def test_another_thread_than_the_main_one_takes_no_signals():
    found = []

    def work():
        with catch_interrupt(Callback()) as interrupt:
            found.append((interrupt.by, signal.getsignal(signal.SIGINT)))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [("", before)]


def test_nothing_trained_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("jnas._search.setup.time.monotonic", iter([0.0] + [1e9] * 1000).__next__)
    with pytest.raises(JnasError, match="ended for its limit of 1 minute, before any template was trained"):
        searched(tmp_path, minutes=1)


def test_limits_do_not_make_another_search():
    data = jnas.load_data(small_arrays())
    plain = SearchConfig(**TINY).experiment_id(data)
    for limit in ({"minutes": 5}, {"max_trials": 3}, {"target_accuracy": 0.9}, {"final_repeats": 5}):
        assert SearchConfig(**TINY | limit).experiment_id(data) == plain
    assert SearchConfig(**TINY | {"num_random": 4}).experiment_id(data) != plain


def test_without_another_limit_a_search_takes_three_minutes():
    assert SearchConfig().time_limit == 180 and SearchConfig(minutes=5, generations=2).time_limit == 300
    for limit in ({"generations": 1}, {"max_trials": 3}, {"target_accuracy": 0.9}):
        assert SearchConfig(**limit).time_limit is None


def test_the_largest_seed_has_seeds_after_it(tmp_path, fake_trainer):
    result = searched(tmp_path, num_random=1, generations=0, seed=2**32 - 1, final_repeats=2)
    assert [row.key.seed for row in result.best.finals] == [2**32 - 1, 0]
    assert {row.status for row in result.best.finals} == {"ok"}
