"""A search as a study of Optuna, which its dashboard shows."""

import importlib
from pathlib import Path
from typing import Any

from jnas._validation import first_line, to_path
from jnas.errors import JnasError
from jnas.space import Conv2d, Template
from jnas.store._experiments import find_experiment
from jnas.store._records import Key
from jnas.store._store import Store, open_store


def export_optuna(store: Store | str | Path, path: str | Path, experiment: str | None = None) -> Path:
    """Writes a search as a study in a journal of Optuna's, and returns its path; `optuna-dashboard FILE` shows it.

    A trial is a network: its value the validation accuracy after the last epoch, its intermediate values those after
    each epoch, its parameters what can be counted of it, and its hash an attribute.

    Args:
      store: a store, its file, or the folder of a search.
      path: the file to write, which must not exist.
      experiment: the search's id or its beginning; None for the newest search.

    Raises:
      JnasError: if Optuna is not installed, there is no such search, or the file cannot be written.
    """
    target = to_path("path", path)
    try:
        optuna = importlib.import_module("optuna")
        journal = importlib.import_module("optuna.storages.journal")
    except ImportError as error:
        raise JnasError("A study needs optuna: pip install optuna.") from error
    store = store if isinstance(store, Store) else open_store(store)
    search = find_experiment(store, experiment)
    if target.exists():
        raise JnasError(f"{target} exists: name another file.")
    shape = [int(side) for side in search.in_shape.split("x")]
    rows = store.experiment_df(search.experiment_id)
    found = store.find([Key(*values) for values in rows[list(Key._fields)].itertuples(index=False)])
    trials = [_trial(optuna, row, phase, shape) for row, phase in zip(found.values(), rows.phase, strict=True)]
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(target)))
        study = optuna.create_study(storage=storage, study_name=search.experiment_id, direction="maximize")
        study.add_trials(trials)
    except OSError as error:
        raise JnasError(f"{target} cannot be written ({first_line(error)}): name another file.") from error
    finally:
        optuna.logging.set_verbosity(level)
    return target


def _trial(optuna: Any, row: Any, phase: str, in_shape: list[int]) -> Any:
    template = Template.from_hash(row.key.hash, in_shape, row.key.num_classes)
    cost, distributions = template.cost, optuna.distributions
    counts = {"params": max(cost.params, 1), "macs": max(cost.macs, 1)}
    params = counts | {
        "layers": len(template.layers),
        "convolutions": sum(isinstance(layer, Conv2d) for layer in template.layers),
        "phase": phase,
    }
    ranges = dict.fromkeys(counts, distributions.IntDistribution(1, 10**15, log=True))
    ranges |= dict.fromkeys(("layers", "convolutions"), distributions.IntDistribution(0, 1000))
    ranges["phase"] = distributions.CategoricalDistribution(("stored", "known", "random", "evolved"))
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.COMPLETE if row.status == "ok" else states.PRUNED if row.status == "stopped" else states.FAIL,
        value=row.val_acc_final,
        params=params,
        distributions=ranges,
        intermediate_values={number: epoch.val_acc for number, epoch in enumerate(row.epochs, 1)},
        user_attrs={"hash": row.key.hash, "status": row.status, "message": row.message},
    )
