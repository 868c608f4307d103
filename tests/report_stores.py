"""Stores of searches that never ran, with rows as a search has them: what reports are tested and looked at with."""

import math
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

import jnas
from jnas.space import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ReLU,
    Space,
    Template,
    known_networks,
)
from jnas.store import Store

EXPERIMENT, DATA, RECIPE, FINAL_RECIPE = "0123456789ab", "da7a" * 4, "7ec1" * 3, "f14a" * 3
STARTED, NUM_VAL, EPOCHS, ROUND = datetime(2026, 1, 2, 3, 4, 5), 800, 4, 4
VERSIONS = '{"python": "3.11.9", "jax": "0.9.0", "jnas": "0.1.0", "device": "cpu"}'
CONFIG = {
    **{"data": "excerpt", "recipe": "fast", "space": "modern", "max_macs": 9_000_000, "minutes": 3.0},
    **{"store": "jnas.duckdb", "objectives": ["accuracy"], "known_networks": True, "epochs": EPOCHS, "seed": 0},
}
FAILURES = [
    ("error", 'a message with <b>markup</b> & "quotes" in it'),
    ("timeout", "compiling took longer than compile_timeout (120 s)"),
    ("out_of_memory", "training needs more memory than the 16.0 GiB of this device"),
    ("diverged", "the training loss was not finite in epoch 2"),
]


def random_template(generator: np.random.Generator) -> Template:
    """A chain of one to five convolutions."""
    layers, side = [], 32
    for _ in range(generator.integers(1, 6)):
        stride = int(generator.choice([1, 1, 1, 2])) if side > 4 else 1
        layers += [Conv2d(int(generator.choice([8, 16, 32, 64, 96, 128])), int(generator.choice([1, 3, 5])), stride)]
        layers += [BatchNorm2d()] * int(generator.random() < 0.7) + [ReLU()]
        side = -(-side // stride)
        if generator.random() < 0.5 and side >= 4:
            layers.append(MaxPool2d(2, 2))
            side //= 2
    layers += [GlobalAvgPool2d()] * int(generator.random() < 0.5) + [Flatten()]
    if generator.random() < 0.3:
        layers += [Linear(64), ReLU(), Dropout(0.3)]
    return Template([*layers, Linear(10)])


def quality(template: Template) -> float:
    """An accuracy that follows from a template, so that there is something to find."""
    cost, kinds = template.cost, [type(layer) for layer in template.layers]
    depth = sum(kind is Conv2d for kind in kinds)
    size = math.exp(-(((math.log10(cost.macs) - 6.7) / 1.4) ** 2))
    return 0.22 + 0.3 * size + 0.035 * min(depth, 4) + 0.05 * (BatchNorm2d in kinds) + 0.02 * (GlobalAvgPool2d in kinds)


def make_rows(count: int, seed: int = 0, experiment: str = EXPERIMENT, num_templates: int = 500) -> pd.DataFrame:
    """Candidates with their evaluations; beyond `num_templates` the hashes are made up from parts of others'."""
    generator = np.random.default_rng(seed)
    known = known_networks(Space(style="modern", max_macs=9_000_000))[:4]
    templates = {template.hash: template for template in known}
    while len(templates) < min(count, num_templates):
        template = random_template(generator)
        templates.setdefault(template.hash, template)
    values = [
        (hash, template.cost.params, template.cost.macs, quality(template)) for hash, template in templates.items()
    ]
    chain = [Conv2d(8 + 8 * (i % 2), 1 + 2 * (i // 2)) for i in range(4)]
    words = [Template([conv, Flatten(), Linear(10)]).hash[:8] for conv in chain]
    choices = generator.integers(0, 4, (max(count - len(values), 0), 12))
    for place, row in enumerate(choices.tolist()):
        hash = "".join([words[i] for i in row]) + known[0].hash[-8:]
        values.append((hash, *values[4 + place % (num_templates - 4)][1:]))
    table = pd.DataFrame(values[:count], columns=["hash", "params", "macs", "quality"]).drop_duplicates("hash")
    index = np.arange(len(table))
    progress = 0.08 * (1 - np.exp(-index / 200))
    noisy = table.quality + progress + generator.normal(0, 0.035, len(table))
    table["val_acc_final"] = np.round(noisy.clip(0.1, 0.95) * NUM_VAL) / NUM_VAL
    table["generation"] = np.where(index < len(known), 0, 1 + (index - len(known)) // ROUND)
    table["position"] = np.where(index < len(known), index, (index - len(known)) % ROUND)
    table["phase"] = np.where(table.generation == 0, "known", "evolved")
    table["predicted_mean"] = np.where(
        table.generation > 6, table.quality + generator.normal(0, 0.03, len(table)), np.nan
    )
    table["compile_seconds"] = generator.uniform(1.5, 4, len(table))
    table["train_seconds"] = 2 + table.macs / 1e6 * generator.uniform(0.8, 1.2, len(table))
    failed = index[9::37]
    reasons = np.array(FAILURES, object)[np.arange(len(failed)) % len(FAILURES)]
    outcome = np.array([["ok", ""]] * len(table), object)
    outcome[failed] = reasons
    table["status"], table["message"] = outcome.T
    table["val_acc_final"] = table.val_acc_final.where(table.status == "ok")
    seconds = ((table.compile_seconds + table.train_seconds) / 2).cumsum() + 12
    table["seconds"] = seconds
    table["finished_at"] = pd.Timestamp(STARTED) + pd.to_timedelta(seconds, unit="s").astype("timedelta64[us]")
    return table.assign(experiment_id=experiment, seed=seed).reset_index(drop=True)


def insert(store: Store, table: str, rows: pd.DataFrame) -> None:
    """Writes many rows at once; columns that the table does not have are left out."""
    with store._write() as connection:
        columns = [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]
        frame = rows[[name for name in rows.columns if name in columns]]
        connection.register("new_rows", frame)
        connection.execute(f"INSERT OR IGNORE INTO {table} BY NAME SELECT * FROM new_rows")


def add_experiment(store: Store, experiment: str = EXPERIMENT, seed: int = 0, **changes) -> None:
    store.create()
    columns = {
        **{"experiment_id": experiment, "started_at": STARTED, "recipe_id": RECIPE, "dataset_fingerprint": DATA},
        **{"dataset_name": "CIFAR-10 excerpt", "in_shape": "3x32x32", "num_classes": 10, "split_seed": 0, "seed": seed},
        **{"num_train": 3200, "num_val": 800, "num_test": 1000},
        **{"config_json": CONFIG | {"seed": seed}, "git_commit": "0" * 40},
        **{"versions": {"python": "3.11.9", "jax": "0.9.0", "jnas": "0.1.0"}},
    }
    store.add_row("experiments", **(columns | changes))


def add_rows(store: Store, rows: pd.DataFrame) -> None:
    """Writes rows of `make_rows` to all the tables that a search writes them to."""
    shape = {"in_shape": "3x32x32", "num_classes": 10}
    rows = rows.assign(**shape, recipe_id=RECIPE, dataset_fingerprint=DATA, split_seed=0, versions=VERSIONS)
    rows = rows.assign(device="2 CPU cores", flops=2 * rows.macs, val_acc_max=rows.val_acc_final)
    rows = rows.assign(train_acc_final=rows.val_acc_final * 1.02)
    insert(store, "architectures", rows)
    insert(store, "evaluations", rows)
    insert(store, "candidates", rows)
    good = rows[rows.status == "ok"]
    for epoch in range(1, EPOCHS + 1) if len(rows) < 10_000 else [EPOCHS]:
        reached = good.val_acc_final * (1 - 0.5 ** (2 * epoch)) / (1 - 0.5 ** (2 * EPOCHS))
        val_acc = good.val_acc_final if epoch == EPOCHS else np.round(reached * NUM_VAL) / NUM_VAL
        insert(store, "epochs", good.assign(epoch=epoch, val_acc=val_acc, train_acc=reached, train_loss=2 - reached))


def finish(store: Store, rows: pd.DataFrame, seed: int = 0) -> str:
    """Trains the best for longer, so to speak; returns its hash."""
    best = rows.loc[rows.val_acc_final.idxmax()]
    experiment = rows.experiment_id[0]
    insert(
        store,
        "recipes",
        pd.DataFrame({"recipe_id": [RECIPE, FINAL_RECIPE], "recipe_json": ['{"epochs": 4}', '{"epochs": 24}']}),
    )
    curve = np.round(0.75 * (1 - np.exp(-np.arange(1, 25) / 5)) * NUM_VAL) / NUM_VAL
    final = pd.DataFrame([best]).assign(recipe_id=FINAL_RECIPE, in_shape="3x32x32", num_classes=10, split_seed=0)
    final = final.assign(dataset_fingerprint=DATA, test_acc_final=0.731, val_acc_final=0.74, versions=VERSIONS)
    final = final.assign(finished_at=rows.finished_at.max() + timedelta(seconds=70), device="2 CPU cores")
    insert(store, "evaluations", final)
    epochs = pd.concat([final] * len(curve)).assign(epoch=range(1, 25), val_acc=curve, train_acc=curve * 1.05)
    insert(store, "epochs", epochs.assign(train_loss=2 - curve))
    good = rows[rows.phase != "known"]
    generations = good.groupby("generation").agg(
        num_trained=("hash", "size"), val_acc_final_best=("val_acc_final", "max")
    )
    generations = generations.reset_index().assign(experiment_id=experiment, phase="evolved")
    taus = np.clip(
        0.2 + 0.4 * (1 - np.exp(-generations.generation / 40)) + 0.2 * np.sin(generations.generation * 7), -1, 1
    )
    insert(store, "generations", generations.assign(kendall_tau=taus.where(generations.generation > 6), seconds=9.0))
    store.update_experiment(experiment, winner_hash=best.hash, final_recipe_id=FINAL_RECIPE)
    return best.hash


def make_store(path, count: int, seed: int = 0, finished: bool = True, experiment: str = EXPERIMENT) -> Store:
    """A store with one more search of so many rows."""
    store = jnas.Store(path)
    add_experiment(store, experiment, seed)
    rows = make_rows(count, seed, experiment)
    add_rows(store, rows)
    if finished:
        finish(store, rows, seed)
    return store
