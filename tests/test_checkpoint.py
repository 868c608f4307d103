"""Checkpoints that cannot be written, and searches that meet: in the middle of a search, and in two at once."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import exhaustive, small_arrays

import jnas
from jnas._runtime import checkpoint
from jnas._search.callbacks import Callback
from jnas.errors import JnasError

TINY = {
    "num_random": 3,
    "trials_per_generation": 2,
    "known_networks": False,
    "space": "sophius",
    "generations": 1,
    "epochs": 1,
    "final_epochs": 2,
    "final_repeats": 2,
    "report": False,
}
TINY |= {"conv_num": 1, "lin_num": 1, "batch_size": 24, "max_macs": 100_000}
ARRAYS = {"a": np.arange(1000.0)}


def search(folder, *callbacks, **settings):
    settings = TINY | {"store": str(folder / "r.duckdb"), "callbacks": callbacks, "verbose": False} | settings
    return jnas.search(small_arrays(test=0), **settings)


def rows(store):
    return (
        store.to_df()
        .sort_values(["hash", "recipe_id", "seed"])[["hash", "seed", "status", "val_acc_final"]]
        .values.tolist()
    )


def test_processes_and_threads_save_under_one_name(tmp_path):
    code = """if True:
        import sys, numpy
        from jnas._runtime import checkpoint
        for _ in range(8):
            checkpoint.save(sys.argv[1], {"a": numpy.arange(1000.0)}, {"who": sys.argv[2]})
    """
    command = [sys.executable, "-c", code, str(tmp_path / "same")]
    others = [subprocess.Popen([*command, who], stderr=subprocess.PIPE) for who in "ab"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: checkpoint.save(tmp_path / "same", ARRAYS, {"who": i}), range(12)))
    assert [(other.communicate(timeout=60)[1], other.returncode) for other in others] == [(b"", 0)] * 2
    assert os.listdir(tmp_path) == ["same"]
    assert np.array_equal(checkpoint.restore(tmp_path / "same", ARRAYS)["a"], ARRAYS["a"])


def test_what_a_dead_process_left_is_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    machine = f".unfinished-{os.uname().nodename}"
    for name in (f"{machine}-{dead.pid}-0123", f"{machine}-{os.getpid()}-0123", f"{machine}-x-{dead.pid}-0123"):
        (tmp_path / name).mkdir()
    checkpoint.save(tmp_path / "a", ARRAYS, {})
    assert sorted(os.listdir(tmp_path)) == sorted(
        [f"{machine}-{os.getpid()}-0123", f"{machine}-x-{dead.pid}-0123", "a"]
    )


def test_a_save_that_fails_leaves_no_threads_and_the_former_checkpoint(tmp_path, monkeypatch, caplog):
    import orbax.checkpoint as ocp

    handler = ocp.StandardCheckpointHandler
    checkpoint.save(tmp_path / "a", ARRAYS, {"kept": 1})

    class Failing(handler):
        def save(self, directory, *args, **kwargs):
            shutil.rmtree(directory.parent)  # it is lost while it is written
            directory.parent.write_text("")
            return super().save(directory, *args, **kwargs)

    monkeypatch.setattr(ocp, "StandardCheckpointHandler", Failing)
    before = set(threading.enumerate())
    with pytest.raises(JnasError, match=r"a cannot be written \(.{1,300}\): make sure that its folder") as error:
        checkpoint.save(tmp_path / "a", ARRAYS, {})
    # An idle thread of asyncio's ends with the process; one that waits for a signal would keep it alive.
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio")]
    assert "\n" not in str(error.value) and left == [] and not caplog.records
    assert checkpoint.load_metadata(tmp_path / "a") == {"kept": 1}


class Breaking(Callback):
    """Puts a file in place of the folder of checkpoints once two templates are trained."""

    count = 0

    def on_trial_end(self, candidate):
        self.count += 1
        if self.count == 2:
            shutil.rmtree(self.folder)
            self.folder.write_text("")

    def on_search_start(self, search):
        self.folder = search.checkpoints.parent


@pytest.mark.slow
def test_a_folder_that_is_lost_in_the_middle_is_told_and_rows_are_kept(tmp_path, fake_trainer):
    with pytest.raises(JnasError, match=r"r.checkpoints/.* cannot be written \(Not a directory\)"):
        search(tmp_path, Breaking())
    kept = rows(jnas.Store(tmp_path / "r.duckdb"))
    assert len(kept) >= 2
    (tmp_path / "r.checkpoints").unlink()
    assert search(tmp_path).best.final.status == "ok"
    again = rows(jnas.Store(tmp_path / "r.duckdb"))
    assert all(row in again for row in kept) and len(again) == 5 + 2


class Told(Callback):
    def __init__(self):
        self.waits = 0

    def on_wait(self):
        self.waits += 1


@pytest.mark.slow
def test_equal_and_other_searches_share_a_store_at_once(tmp_path, fake_trainer):
    """Two equal ones take turns; another one and a reader are beside them."""
    telling, is_done = [Told() for _ in range(3)], threading.Event()

    def read():
        count = 0
        while not is_done.wait(0.2):
            store = jnas.Store(tmp_path / "r.duckdb", lock_timeout=60)
            count = len(store.to_df()) if store.is_made else 0
        return count

    with ThreadPoolExecutor(4) as pool:
        reader = pool.submit(read)
        searches = [pool.submit(search, tmp_path, progress, seed=i // 2) for i, progress in enumerate(telling)]
        try:
            results = [one.result() for one in searches]
        finally:
            is_done.set()
        assert reader.result() > 0
    first, second, other = results
    assert sum(progress.waits for progress in telling[:2]) == 1 and telling[2].waits == 0
    assert first.experiment == second.experiment != other.experiment
    assert first.to_df().equals(second.to_df()) and first.best.finals == second.best.finals
    (tmp_path / "alone").mkdir()
    for seed in (0, 1):
        alone = search(tmp_path / "alone", seed=seed)
    assert rows(alone.store) == rows(first.store)


def test_a_search_that_waits_ends_by_ctrl_c(tmp_path, fake_trainer):
    class Second(Told):
        def on_wait(self):
            super().on_wait()
            signal.raise_signal(signal.SIGTERM)

    class First(Callback):
        def on_round_end(self, result):
            with pytest.raises(KeyboardInterrupt):
                search(tmp_path, second)

    second = Second()
    search(tmp_path, First())
    assert second.waits == 2  # one a round


@pytest.mark.parametrize("name", ["SIGTERM", *exhaustive("SIGHUP")])
def test_a_signal_to_end_is_like_the_first_ctrl_c(tmp_path, fake_trainer, capsys, name):
    number = getattr(signal, name)

    def handle(*_):
        pytest.fail("the caller's own handler")

    class Ending(Callback):
        reason = ""

        def on_trial_end(self, candidate):
            signal.raise_signal(number)  # systems repeat it

        def on_stop(self, reason):
            self.reason = reason

    previous, progress = signal.signal(number, handle), Ending()
    try:
        few = search(tmp_path, progress)
        assert signal.getsignal(number) is handle
        assert progress.reason == f"by {name}" and few.best.final.status == "ok"
        assert len(few.to_df()) < 5
        signal.signal(number, signal.SIG_IGN)  # as under nohup
        progress = Ending()
        whole = search(tmp_path, progress)
        assert progress.reason == "" and len(whole.to_df()) == 5 and signal.getsignal(number) == signal.SIG_IGN
        assert whole.to_df().hash.tolist()[: len(few.to_df())] == few.to_df().hash.tolist()
    finally:
        signal.signal(number, previous)
