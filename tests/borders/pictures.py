"""`jnas predict`: what it takes as a store and as pictures, and what it says of anything else."""

import json

import numpy as np
from conftest import small_arrays
from flax import nnx
from PIL import Image

import jnas
from borders import Row, command, refused
from jnas.space import Flatten, Linear
from jnas.store import Evaluation, Store, paths
from jnas.train import Recipe, Trial, make_key, save_weights

RECIPE = Recipe.standard(epochs=1, batch_size=24)
SEARCH = "f0e1d2c3b4a5"


def store(weights=True, names=("cat", "dog", "owl"), channels=3):
    """A store as a search leaves it, with a winner for images of 8x8 pixels; returns its name."""
    arrays = small_arrays()
    images = {x: arrays[x][..., :channels] for x in ("x_train", "x_test")}
    data = jnas.load_data(arrays | images | {"class_names": list(names)})
    template = jnas.Template([Flatten(), Linear(3)], data.in_shape)
    made = Store("a.duckdb")
    made.add_experiment(
        SEARCH,
        config_json={"data": "arrays", "fit": "pad"},
        recipe_id=RECIPE.id,
        dataset_fingerprint=data.fingerprint,
        dataset_name=data.name,
        in_shape="x".join(map(str, data.in_shape)),
        num_classes=3,
        class_names=json.dumps(data.class_names),
        split_seed=0,
        seed=0,
    )
    key = make_key(Trial(template, 0), RECIPE, data, 0)
    made.add_candidates(SEARCH, "random", 0, [(template.hash, None, None)])
    made.add(
        [Evaluation(key, "ok", val_acc_final=0.5, test_acc_final=0.5, params=1, macs=1, flops=1)], RECIPE.to_json()
    )
    made.update_experiment(SEARCH, winner_hash=template.hash, final_recipe_id=RECIPE.id)
    if weights:
        checkpoints = paths.checkpoint_dir(made.path, SEARCH)
        module = template.build(nnx.Rngs(0))
        save_weights(paths.winner_dir(checkpoints, RECIPE.id, template.hash), template, module)
    return "a.duckdb"


def pictures(folder):
    """Two pictures in a folder; returns its name."""
    (folder / "new").mkdir()
    for number, image in enumerate(small_arrays(size=12)["x_test"][:2]):
        Image.fromarray(image).save(folder / "new" / f"{number}.png")
    return "new"


def _predict(*words, **settings):
    return lambda folder: command("predict", store(**settings), pictures(folder), *words)


def _predict_table(**arrays):
    """Two images of one colour each, by the names of their arrays."""

    def call(_):
        np.savez(
            "a.npz", **{name: np.full((2, 8, 8, 3) if name[0] in "xp" else 2, one) for name, one in arrays.items()}
        )
        return command("predict", store(), "a.npz")

    return call


def _predict_csv(folder):
    pictures(folder)
    (folder / "a.csv").write_text("path,label,split\nnew/0.png,cat,train\nnew/0.png,dog,train\nnew/1.png,dog,test\n")
    return command("predict", store(), "a.csv")


def _has_rows(text):
    rows = [line.split() for line in text.splitlines()]
    return [row[0] for row in rows] == ["new/0.png", "new/1.png"] and all(
        row[1] in ("cat", "dog", "owl") and 1 / 3 <= float(row[2]) <= 1 for row in rows
    )


def _is_json(text):
    rows = json.loads(text)
    return [set(row) for row in rows] == [{"file", "class", "probability"}] * 2 and rows[1]["file"] == "new/1.png"


ROWS = [
    Row("predict --files", "right", _predict(), _has_rows),
    Row("predict --files", "right", _predict("new/0.png"), lambda text: text.count("new/0.png") == 2),
    Row(
        "predict --csv", "right", _predict("--csv"), lambda text: text.startswith("file,class,probability\nnew/0.png,")
    ),
    Row("predict --json", "right", _predict("--json"), _is_json),
    Row(
        "predict --files",
        "right",
        _predict_table(x=0.5),
        lambda text: text.startswith("a.npz[0]") and len(text.splitlines()) == 2,
    ),
    Row(
        "predict --files",
        "right",
        _predict_csv,
        lambda text: text.startswith("a.csv[0]") and len(text.splitlines()) == 1,
    ),
    Row("predict --files", "right", _predict_table(x_test=9, y_test=0, x_train=255), lambda text: "a.npz[1]" in text),
    Row(
        "predict --files",
        "foreign",
        _predict_table(pictures=9),
        "a.npz must hold images x or x_test to be classified, got pictures; rename them.",
    ),
    *(
        Row(f"predict {one}", "wrong value", _predict("--csv", "--json"), sentence)
        for one in ("--csv", "--json")
        for sentence in ["--csv and --json must not be given together, got both; leave one out."]
    ),
    Row(
        "predict --fit",
        "wrong value",
        _predict("--fit", "squeeze"),
        refused("fit", "one of crop, pad, stretch", "'squeeze'"),
    ),
    Row(
        "predict --store",
        "missing",
        lambda _: command("predict", "no.duckdb"),
        "There is no store no.duckdb: name the .duckdb file that a search wrote.",
    ),
    Row(
        "predict --store",
        "missing",
        _predict(weights=False),
        "Template 01000000 must have weights beside a.duckdb, got none; run the search again, which trains its winner "
        "again, or move the folder of its weights there.",
    ),
    Row(
        "predict --hash",
        "wrong value",
        _predict("--hash", "ff"),
        f"There is no template 'ff' in search {SEARCH}: give --hash one of 01000000.",
    ),
    Row(
        "predict --experiment",
        "wrong value",
        _predict("--experiment", "zz"),
        f"There is no search 'zz' in a.duckdb: give --experiment one of {SEARCH}.",
    ),
    Row(
        "predict --files",
        "empty",
        lambda _: command("predict", store()),
        "Pictures must be given as files, or folders that hold some, got none; name some.",
    ),
    Row(
        "predict --files",
        "missing",
        lambda _: command("predict", store(), "no.png", "no.jpg"),
        "no.png cannot be read (not there), nor can 1 more: give pictures, such as JPEG or PNG files.",
    ),
    Row(
        "predict --files",
        "foreign",
        lambda _: command("predict", store(), "a.duckdb"),
        "a.duckdb cannot be read (no picture): give pictures, such as JPEG or PNG files.",
    ),
    Row(
        "predict --files",
        "wrong value",
        _predict(channels=2),
        "The network must have 1 or 3 channels to classify pictures, got 2; give its images in an .npz "
        "file, or to EvaluatedCandidate.predict.",
    ),
]
