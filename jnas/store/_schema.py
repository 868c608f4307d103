"""The tables, in SQL, and the way to them from those of an older jnas."""

import re

TABLES = """
CREATE TABLE IF NOT EXISTS jnas (schema_version INTEGER);

CREATE TABLE IF NOT EXISTS recipes (
    recipe VARCHAR PRIMARY KEY,
    settings JSON
);

-- A search: what was asked for, and what it ran with; `git` is the commit of jnas' source, and whether it was changed.
-- `winner` is the hash of what it found, once that is known.
CREATE TABLE IF NOT EXISTS experiments (
    experiment VARCHAR PRIMARY KEY,
    started TIMESTAMP,
    settings JSON,
    recipe VARCHAR,
    data VARCHAR,
    data_name VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    split_seed BIGINT,
    seed BIGINT,
    versions JSON,
    git VARCHAR,
    winner VARCHAR
);

CREATE TABLE IF NOT EXISTS architectures (
    hash VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    params BIGINT,
    macs BIGINT,
    flops BIGINT,
    PRIMARY KEY (hash, in_shape, classes)
);

-- Accuracies are shares, 0 to 1; the name says which images and which statistic over the epochs. `versions` is what
-- trained: jax, jaxlib, flax, jnas and python, and the device.
CREATE TABLE IF NOT EXISTS evaluations (
    hash VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    recipe VARCHAR,
    data VARCHAR,
    split_seed BIGINT,
    seed BIGINT,
    status VARCHAR,
    message VARCHAR,
    val_acc_final DOUBLE,
    val_acc_max DOUBLE,
    train_acc_final DOUBLE,
    test_acc_final DOUBLE,
    compile_seconds DOUBLE,
    train_seconds DOUBLE,
    device VARCHAR,
    finished TIMESTAMP,
    versions JSON,
    PRIMARY KEY (hash, in_shape, classes, recipe, data, split_seed, seed)
);

CREATE TABLE IF NOT EXISTS epochs (
    hash VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    recipe VARCHAR,
    data VARCHAR,
    split_seed BIGINT,
    seed BIGINT,
    epoch INTEGER,
    train_loss DOUBLE,
    train_acc DOUBLE,
    val_acc DOUBLE,
    PRIMARY KEY (hash, in_shape, classes, recipe, data, split_seed, seed, epoch)
);

-- A program that trained one or more lanes: how they were grouped, what that was expected to take, and what it took.
CREATE TABLE IF NOT EXISTS programs (
    finished TIMESTAMP,
    recipe VARCHAR,
    device VARCHAR,
    policy VARCHAR,
    lanes INTEGER,
    width INTEGER,
    padding DOUBLE,
    expected_compile_seconds DOUBLE,
    compile_seconds DOUBLE,
    expected_train_seconds DOUBLE,
    train_seconds DOUBLE
);

-- What a search chose to train, in order, with what the predictor said of it beforehand.
CREATE TABLE IF NOT EXISTS candidates (
    experiment VARCHAR,
    step VARCHAR,
    generation INTEGER,
    position INTEGER,
    hash VARCHAR,
    predicted_mean DOUBLE,
    predicted_std DOUBLE,
    PRIMARY KEY (experiment, step, generation, position)
);

-- How long a template takes to classify so many images at once, on a device, in milliseconds.
CREATE TABLE IF NOT EXISTS latencies (
    hash VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    device VARCHAR,
    images INTEGER,
    latency_ms DOUBLE,
    PRIMARY KEY (hash, in_shape, classes, device, images)
);

-- The Pareto front of everything trained well up to a round, by the search's objectives.
CREATE TABLE IF NOT EXISTS fronts (
    experiment VARCHAR,
    generation INTEGER,
    position INTEGER,
    hash VARCHAR,
    val_acc_final DOUBLE,
    params BIGINT,
    macs BIGINT,
    latency_ms DOUBLE,
    PRIMARY KEY (experiment, generation, position)
);

-- Each round of a search, numbered from 0, with its step: random, filtered or evolved.
-- `diversity` is the mean distance (0 to 1) of the trained templates from one another, `population_diversity` that of
-- the members which evolved against the predictor; `kendall_tau` compares what was predicted with what was trained.
CREATE TABLE IF NOT EXISTS generations (
    experiment VARCHAR,
    step VARCHAR,
    generation INTEGER,
    trained INTEGER,
    val_acc_final_best DOUBLE,
    val_acc_final_mean DOUBLE,
    kendall_tau DOUBLE,
    diversity DOUBLE,
    population_diversity DOUBLE,
    front INTEGER,
    seconds DOUBLE,
    PRIMARY KEY (experiment, generation)
);

-- A predictor, as fitted before a round; the scores are on rows that the scored member had not seen. Of the folders
-- only the latest one is kept.
CREATE TABLE IF NOT EXISTS predictors (
    experiment VARCHAR,
    generation INTEGER,
    rows INTEGER,
    r2 DOUBLE,
    kendall_tau DOUBLE,
    spearman DOUBLE,
    seconds DOUBLE,
    checkpoint VARCHAR,
    PRIMARY KEY (experiment, generation)
);
"""

MIGRATIONS = (
    # To version 2: several objectives, any image shape.
    """
    ALTER TABLE experiments ADD COLUMN IF NOT EXISTS in_shape VARCHAR;
    ALTER TABLE experiments ADD COLUMN IF NOT EXISTS classes INTEGER;
    ALTER TABLE experiments ADD COLUMN IF NOT EXISTS split_seed BIGINT;
    ALTER TABLE generations ADD COLUMN IF NOT EXISTS diversity DOUBLE;
    ALTER TABLE generations ADD COLUMN IF NOT EXISTS population_diversity DOUBLE;
    ALTER TABLE generations ADD COLUMN IF NOT EXISTS front INTEGER;
    """,
    # To version 3: what a row was made with.
    """
    ALTER TABLE experiments ADD COLUMN IF NOT EXISTS git VARCHAR;
    ALTER TABLE evaluations ADD COLUMN IF NOT EXISTS versions JSON;
    """,
    # To version 4: the winner may be another than the best of the shorter trainings.
    """
    ALTER TABLE experiments ADD COLUMN IF NOT EXISTS winner VARCHAR;
    """,
)
"""What changes the tables of each version into those of the next, the first version's first.

`TABLES` is executed before, and makes the tables that an older file lacks as they are now: hence the IF NOT EXISTS.
"""

VERSION = len(MIGRATIONS) + 1

TABLE_NAMES = tuple(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", TABLES))
