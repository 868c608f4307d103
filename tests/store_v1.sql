-- A store of schema version 1, as the jnas of its time made it.

CREATE TABLE jnas (schema_version INTEGER);

CREATE TABLE recipes (
    recipe VARCHAR PRIMARY KEY,
    settings JSON
);

CREATE TABLE experiments (
    experiment VARCHAR PRIMARY KEY,
    started TIMESTAMP,
    settings JSON,
    recipe VARCHAR,
    data VARCHAR,
    data_name VARCHAR,
    seed BIGINT,
    versions JSON
);

CREATE TABLE architectures (
    hash VARCHAR,
    in_shape VARCHAR,
    classes INTEGER,
    params BIGINT,
    macs BIGINT,
    flops BIGINT,
    PRIMARY KEY (hash, in_shape, classes)
);

CREATE TABLE evaluations (
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
    PRIMARY KEY (hash, in_shape, classes, recipe, data, split_seed, seed)
);

CREATE TABLE epochs (
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

CREATE TABLE candidates (
    experiment VARCHAR,
    step VARCHAR,
    generation INTEGER,
    position INTEGER,
    hash VARCHAR,
    predicted_mean DOUBLE,
    predicted_std DOUBLE,
    PRIMARY KEY (experiment, step, generation, position)
);

CREATE TABLE generations (
    experiment VARCHAR,
    step VARCHAR,
    generation INTEGER,
    trained INTEGER,
    val_acc_final_best DOUBLE,
    val_acc_final_mean DOUBLE,
    kendall_tau DOUBLE,
    seconds DOUBLE,
    PRIMARY KEY (experiment, generation)
);

CREATE TABLE predictors (
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

INSERT INTO jnas VALUES (1);
