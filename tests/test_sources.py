"""Whatever is given as images and labels is a data set or a sentence; and how a data set is split."""

import csv
import io
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from borders.predictions import candidate
from conftest import small_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jnas import load_data
from jnas.data import Dataset
from jnas.data._stratification import stratify
from jnas.errors import JnasError

IS_EXHAUSTIVE = bool(os.environ.get("JNAS_TEST_ALL"))
pytestmark = [pytest.mark.exhaustive] if IS_EXHAUSTIVE else []  # a thousand of each take longer than a test may
EXAMPLES = 1000 if IS_EXHAUSTIVE else 40
ARRAYS = small_arrays(train=12, test=6)
X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
EXPECTED = load_data(ARRAYS).fingerprint
TRAIN, TEST = (ARRAYS["x_train"], ARRAYS["y_train"]), (ARRAYS["x_test"], ARRAYS["y_test"])


def torchvision(images, labels, **others):
    return SimpleNamespace(data=images, targets=labels.tolist(), **others)


@pytest.mark.parametrize(
    "source",
    [
        (TRAIN, TEST),
        {"train": TRAIN, "test": TEST},
        {"train": dict(zip(("image", "label"), TRAIN, strict=True)), "test": TEST},
        (torchvision(*TRAIN), torchvision(*TEST)),
        {"training": torchvision(*TRAIN), "testing": SimpleNamespace(imgs=TEST[0], labels=TEST[1][:, None])},
        {
            "x": TRAIN[0],
            "y": pd.Series(TRAIN[1], index=range(50, 62)),
            "x_test": TEST[0].tolist(),
            "y_test": list(TEST[1]),
        },
        (
            SimpleNamespace(dataset=torchvision(X[::-1], Y[::-1]), indices=range(11, -1, -1)),
            torchvision(*TEST),
        ),
    ],
)
def test_arrays_in_many_forms_are_the_same_data(source):
    assert load_data(source).fingerprint == EXPECTED


def test_a_data_set_of_torchvision_has_its_names_and_axes():
    names = ["0 - zero", "1 - one", "2 - two"]
    with pytest.warns(UserWarning, match="channels first"):
        data = load_data(torchvision(np.moveaxis(X, -1, 1), Y, classes=names))
    assert data.class_names == tuple(names) and (data.x_train == X).all()
    folder = SimpleNamespace(samples=[], root="no-such-folder", classes=names)
    with pytest.raises(JnasError, match="no-such-folder"):
        load_data(folder)


def test_torch_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    assert load_data(((torch.tensor(X), torch.tensor(Y)), TEST)).fingerprint == EXPECTED
    with pytest.warns(UserWarning, match="channels first"):
        first = load_data({"x": torch.tensor(X).permute(0, 3, 1, 2) / 255, "y": torch.tensor(Y)})
    assert (first.x_train == X).all()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_each_class_is_on_both_sides_of_a_split(share):
    labels = np.repeat(range(5), [100, 50, 7, 2, 1])
    order = np.random.default_rng(0).permutation(160)
    train, val = stratify(labels, order, round(160 * share))
    assert sorted([*train, *val]) == list(range(160)) and (np.diff(train) > 0).all() and (np.diff(val) > 0).all()
    in_train, in_val = (np.bincount(labels[part], minlength=5) for part in (train, val))
    assert in_train.all() and in_val[:4].all() and in_val[4] == 0
    assert (np.abs(in_val[:2] - share * np.array([100, 50])) <= 1).all()
    assert abs(len(val) - 160 * share) <= 2


def test_a_split_of_classes_of_one_image_is_one_at_random():
    train, val = stratify(np.arange(9), np.random.default_rng(0).permutation(9), 3)
    assert len(train) == 6 and len(val) == 3


@given(st.lists(st.integers(0, 6), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_split_is_complete_and_has_both_sides(labels, share, seed):
    count = round(share * len(labels))
    if 0 < count < len(labels):
        train, val = stratify(np.array(labels), np.random.default_rng(seed).permutation(len(labels)), count)
        assert sorted([*train, *val]) == list(range(len(labels))) and len(train) and len(val)
        repeated = {label for label in labels if labels.count(label) > 1}
        assert repeated <= {labels[i] for i in val}
        assert {labels[i] for i in train} == set(labels) or not repeated


def test_probabilities_agree_with_the_classes():
    images = small_arrays()["x_test"]
    found = candidate().predict_proba(images)
    assert found.shape == (24, 3) and np.allclose(found.sum(1), 1, atol=1e-5) and (found >= 0).all()
    assert (found.argmax(1) == candidate().predict(images)).all() and found.std() > 0
    assert candidate().predict_proba(images[:0]).shape == (0, 3)
    with pytest.raises(JnasError, match="images must be uint8"):
        candidate().predict_proba(images / 255)


# From here on: anything at all. A source is data, or a JnasError in one line.

DTYPES = ("u1", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "b1", "O", "U3", "M8[s]", "c16")
WORDS = st.sampled_from(
    ["cat", "dog", "", "\udcff", "é", "3", "0", "nan", None, True, 2.5, -1, 7, 2**70, b"cat", [1, 0]]
)


@st.composite
def images(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(
        st.sampled_from([(6, 8, 8, 3), (6, 3, 8, 8), (6, 8, 8), (6, 192), (0, 8, 8, 3), (6,), (), (6, 0, 8, 3)])
    )
    scale = draw(st.sampled_from([0, 1, 16, 255, 4095, 65535, 1e9, -1, float("nan"), float("inf")]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = np.asarray(generator.random(shape) * scale).astype(dtype)
    form = draw(st.sampled_from(["array", "list", "masked", "ragged", "pictures"]))
    if form == "list":
        return array.tolist()
    if form == "masked":
        return np.ma.masked_equal(array, array.flat[0]) if array.size else array
    if form == "ragged":
        return [*array[:-1], array[-1][:1]] if array.ndim > 2 and len(array) and array.shape[1] else [array, None]
    if form == "pictures":
        return [Image.new(draw(st.sampled_from(["L", "RGB", "P", "I", "1"])), (8, 4 + i)) for i in range(6)]
    return array


LABELS = st.one_of(
    st.lists(WORDS, max_size=7),
    st.lists(st.integers(-2, 5), min_size=6, max_size=6),
    st.lists(st.sampled_from(["cat", "dog", "owl"]), min_size=6, max_size=6),
    st.lists(st.integers(0, 2), min_size=6, max_size=6).map(lambda y: np.eye(3, dtype="f")[y]),
    st.lists(st.sampled_from(["a", "b", None]), min_size=6, max_size=6).map(lambda y: pd.Series(y, dtype="category")),
    st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=6, max_size=6).map(
        lambda y: pd.Series(y, dtype="Int64")
    ),
)


def is_data_or_a_sentence(source, folder="", **options):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = load_data(source, **options)
    except JnasError as error:
        sentence = str(error).replace(str(folder), "")
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 500, sentence
        return
    assert isinstance(data, Dataset) and data.x_train.dtype == np.uint8 and data.classes > 1
    assert data.y_train.min() >= 0 and data.y_train.max() < data.classes


@settings(max_examples=EXAMPLES, database=None)
@given(images(), LABELS, st.booleans(), st.sampled_from([None, 5, "4x6"]), st.sampled_from([None, 2, 3]))
def test_any_arrays_are_data_or_a_sentence(x, y, twice, size, classes):
    is_data_or_a_sentence(
        {"x_train": x, "y_train": y} | ({"x_val": x, "y_val": y} if twice else {}), size=size, classes=classes
    )


@st.composite
def files(draw):
    """The bytes of a picture of any kind and mode, whole or damaged, or any bytes."""
    kind = draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "none"]))
    if kind == "none":
        return draw(st.binary(max_size=60))
    mode = draw(st.sampled_from(["L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I;16", "F"]))
    image = Image.new(mode, draw(st.tuples(st.integers(1, 40), st.integers(1, 40))))
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind)
    except (OSError, KeyError, ValueError):
        image.convert("L").save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
        content[place] ^= draw(st.integers(0, 255))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


NAMES = st.sampled_from(
    ["cat/1.png", "dog/1.jpg", "cat/2.gif", "train/cat/1.png", "train/dog/2.tif", "val/dog/3.webp", "a.bmp", "owl/x"]
)


@settings(max_examples=EXAMPLES, database=None)
@given(
    st.dictionaries(NAMES, files(), max_size=6), st.sampled_from([None, 8]), st.sampled_from(["crop", "pad", "stretch"])
)
def test_any_folder_is_data_or_a_sentence(tmp_path_factory, contents, size, fit):
    folder = tmp_path_factory.mktemp("photos")
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    is_data_or_a_sentence(folder, folder, size=size, fit=fit)


CELLS = st.sampled_from(
    ["path", "label", "split", "train", "val", "a.png", "b.png", "cat", "", '"', "\0", "\udcff", ";", "x" * 300]
)


@settings(max_examples=EXAMPLES, database=None)
@given(st.lists(st.lists(CELLS, max_size=4), max_size=6), st.sampled_from(",;\t"), st.binary(max_size=40))
def test_any_table_is_data_or_a_sentence(tmp_path_factory, rows, delimiter, content):
    folder = tmp_path_factory.mktemp("tables")
    for number in range(2):
        Image.new("L", (4, 4), 90 * number).save(folder / f"{'ab'[number]}.png")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["path", "label"], *rows] if rows and len(rows[0]) == 2 else rows)
    (folder / "a.csv").write_bytes(text.getvalue().encode("utf-8", "surrogateescape") + content)
    is_data_or_a_sentence(folder / "a.csv", folder)
    for name in ("b.parquet", "c.npz", "data_batch_1", "d.tsv"):
        (folder / name).write_bytes(content)
        is_data_or_a_sentence(folder / name, folder)
    is_data_or_a_sentence(folder, folder)
