"""A search that is killed at any moment, again and again, ends with the rows of one that was never killed.

A process is forked for each life of the search: it tells what it is about to do, and is killed by SIGKILL a random
while after. With --exhaustive it is killed 20 times, evolves for longer, and trains in earnest.
"""

import json
import multiprocessing
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from conftest import small_arrays

import jnas
from jnas.store import paths

PHASES = ("compile", "train", "write", "fit", "checkpoint")
ALL = bool(os.environ.get("JNAS_TEST_ALL"))
KILLS = 20 if ALL else 1
SEARCH = {
    "num_random": 11,
    "known_networks": False,
    "space": "sophius",
    "generations": 1 + int(ALL),
    "trials_per_generation": 2,
    "epochs": 2,
}
SEARCH |= {"final_epochs": 3, "final_repeats": 2, "num_finalists": 2, "batch_size": 24}
SEARCH |= {"conv_num": 1, "lin_num": 1, "max_macs": 100_000}
SEARCH |= {"prune_after_epochs": 1}

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["jnas._search.loop", "jnas.store", "duckdb"])


def live(store, arrays, tells):
    """One life of the search; `tells` gets the name of each phase as it begins, and each row that was written."""
    from fakes import FakeTrainer

    from jnas._runtime import checkpoint
    from jnas.predict import Predictor
    from jnas.store import Store
    from jnas.train import Trainer
    from jnas.train._engine import group_trainer

    trainer = group_trainer.TRAINER_CLASS = Trainer if ALL else FakeTrainer

    def told(owner, name, phase, what=lambda *_: None, after=False):
        works = getattr(owner, name)

        def telling(*args, **kwargs):
            tells.send((phase, None))
            result = works(*args, **kwargs)
            if after:
                tells.send(("written", what(*args)))
            return result

        setattr(owner, name, telling)

    told(trainer, "compile", "compile")
    told(trainer, "train_until", "train")
    told(Predictor, "fit", "fit")
    told(Store, "add", "write", lambda _, rows, *__: [tuple(row.key) for row in rows], after=True)
    told(checkpoint, "save", "checkpoint")
    jnas.search(arrays, store=store, verbose=False, **SEARCH)
    tells.send(("finished", None))


def survive(store, arrays, phase, generator):
    """A life until so many of a phase have begun; the rows it wrote, and whether it came to its end."""
    ours, theirs = forks.Pipe(duplex=False)
    process = forks.Process(target=live, args=(store, arrays, theirs))
    process.start()
    theirs.close()
    written, left = [], generator.choice((1, 2, 3)) if ALL else 1
    try:
        while True:
            event, rows = ours.recv()
            if event == "finished":
                process.join(60)
                return written, True
            if event == "written":
                written += rows
            elif event == phase:
                left -= 1
                if left == 0:
                    time.sleep(generator.uniform(0, 0.3 if phase in ("compile", "train", "fit") else 0.03))
                    break
    except EOFError:
        pytest.fail("the search ended by itself")
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    while ours.poll():  # what it said before it died
        try:
            event, rows = ours.recv()
        except (EOFError, OSError):
            break
        written += rows or []
    return written, False


def rows_of(path):
    """Everything in a store that must not depend on how often the search was killed."""
    store = jnas.Store(path, lock_timeout=60)
    (experiment,) = store.experiments_df().experiment_id
    columns = ["phase", "generation", "hash", "seed", "status", "val_acc_final", "train_acc_final", "predicted_mean"]
    searched = store.experiment_df(experiment)[columns]
    tested = store.sql(
        "SELECT hash, seed, test_acc_final FROM evaluations WHERE test_acc_final IS NOT NULL ORDER BY ALL"
    )
    epochs = store.sql("SELECT * FROM epochs ORDER BY ALL")
    rounds = store.sql("SELECT * EXCLUDE (seconds) FROM generations ORDER BY generation")
    return {"searched": searched, "tested": tested, "epochs": epochs, "rounds": rounds}


def check_page(store, searched):
    """The page is complete, whatever was killed while it was written."""
    folder = paths.report_dir(Path(store))
    data = json.loads(re.search(r"window\.jnasData = (.*?);</script>", (folder / "index.html").read_text())[1])
    (search,) = data["searches"]
    assert not data["is_live"] and search["rows"]["hash"] == searched.hash.to_list()
    assert search["summary"]["winner"]["is_chosen"] and {path.name for path in folder.iterdir()} >= {"index.html"}


def killed_to_its_end(store, arrays, phases, generator):
    """A search that is killed in each of these phases in turn; those in which it was, before it came to its end."""
    written, kills, ended = [], [], False
    while not ended:
        more, ended = survive(store, arrays, next(phases, None), generator)
        written += more
        if not ended:
            kills.append(1)
            if os.path.exists(store):  # what was told to be written is there
                there = jnas.Store(store, lock_timeout=60).to_df()
                assert set(there[["hash", "recipe_id", "seed"]].itertuples(index=False, name=None)) >= {
                    (hash, recipe, seed) for hash, _, _, recipe, _, _, seed in written
                }
    assert len(written) == len(set(written))  # nothing that was finished is trained again
    return len(kills)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_rows(tmp_path):
    generator, arrays = random.Random(int(os.environ.get("JNAS_TEST_SEED", "0"))), small_arrays(train=192)
    expected, kills, lives = None, 0, 0
    while kills < KILLS or expected is None:
        lives += 1
        (tmp_path / str(lives)).mkdir()
        store = str(tmp_path / str(lives) / "r.duckdb")
        # The first search is left alone, so that it can be compared with.
        plan = [] if expected is None else [phase for _ in range(KILLS) for phase in PHASES][: KILLS - kills]
        kills += killed_to_its_end(store, arrays, iter(plan), generator)
        found = rows_of(store)
        expected = expected or found
        for name in expected:
            assert found[name].equals(expected[name]), name
        check_page(store, found["searched"])
        assert [path for path in (tmp_path / str(lives)).rglob("*") if path.suffix in (".tmp", ".wal")] == []
    print(f"{kills} kills in {lives - 1} searches")
