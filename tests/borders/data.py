"""Data sets: what `load_data` and `Dataset` take, and what they say of anything else."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import small_arrays

import jnas
from borders import Row, is_fine, refused

SIZES = "pixels from 1 to 4,096, such as 32, or height x width, such as 48x64"
ARRAYS = small_arrays(train=9, test=6)
X, Y = ARRAYS["x_train"], ARRAYS["y_train"]
_WITH = "x_train, y_train and, if there are any, x_val, y_val, x_test, y_test and class_names"
_SOURCE = "give 'excerpt', 'cifar10', the path of a folder, a CSV, Parquet or .npz file, or arrays x_train and y_train"
_CONVERT = "give a folder with a sub-folder a class, or save arrays of images and labels with numpy.savez"
_TFDS = "{folder}/1.0.0 must hold a whole data set of TensorFlow Datasets, got damaged or missing files"
_IMAGES = "x_train of your arrays must be uint8, from 0 to 255, of shape [N, height, width, channels], got"
_LABELS = "y_train of your arrays must be one whole number for each of 9 images, got"
_CLASSES = "y_train of your arrays must have all of the labels 0, 1, 2 and so on, 2 or more, got"
_NUMBERED = "give the labels 0, 1, 2 and so on: of rows with labels.argmax(-1), of words with numpy.unique(labels, return_inverse=True)[1]"
_UNIQUE = "number them with numpy.unique(labels, return_inverse=True)[1], or give classes if some have no images"
_SCALE = "scale them to pixels from 0 to 255 without NaN, and convert them to uint8"
_TRANSPOSE = "transpose them with numpy.transpose(images, (0, 2, 3, 1))"
_ROUND = "convert them to uint8 with .round().astype('uint8')"


def is_whole(data):
    """Whether these are all images and labels of `ARRAYS`."""
    return all(np.array_equal(getattr(data, name), values) for name, values in ARRAYS.items()) and data.classes == 3


def has(**values):
    """Whether a data set has these attributes."""
    return lambda data: all(np.array_equal(getattr(data, name), value) for name, value in values.items())


def _is_transposed(images):
    """Channels first: taken with a warning that says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = jnas.load_data((images, Y))
    assert "channels first" in str(caught[0].message)
    assert (data.x_train == np.moveaxis(images, 1, -1)).all()


def _arrays(subject, kind, changes, expected):
    return Row(f"load_data.{subject}", kind, lambda _: jnas.load_data(ARRAYS | changes), expected)


def _images(kind, images, got):
    return Row("load_data.x_train", kind, lambda _: jnas.load_data((images, Y)), f"{_IMAGES} {got}.")


def _labels(kind, labels, sentence):
    return Row("load_data.y_train", kind, lambda _: jnas.load_data((X, labels)), f"{sentence}.")


def _source(kind, source, sentence):
    return Row("load_data.source", kind, lambda _: jnas.load_data(source), f"{sentence}.")


def _file(kind, name, content, got):
    """A call with a file of these bytes, or one that a function writes."""

    def call(folder):
        if isinstance(content, bytes):
            Path(name).write_bytes(content)
        else:
            content(name)
        return jnas.load_data(folder / name)

    return Row("load_data.source", kind, call, f"{{folder}}/{name} must be an .npz file with {_WITH}, got {got}.")


def _tfds(kind, change, expected):
    """A call with the folder of `tfds_stripes`, changed."""

    def call(folder):
        shutil.copytree(Path(__file__).parents[1] / "tfds_stripes" / "stripes" / "1.0.0", "1.0.0")
        change(Path("1.0.0"))
        return jnas.load_data(folder / "1.0.0")

    return Row("load_data.source", kind, call, expected)


def _write_photos(name):
    with zipfile.ZipFile(name, "w") as file:
        for number in range(400):
            file.writestr(f"cat/holiday_picture_{number:04}.jpg", b"")


def _write_cut(name):
    np.savez(name, **ARRAYS)
    Path(name).write_bytes(Path(name).read_bytes()[:999])


def _write_damaged(name):
    np.savez(name, **ARRAYS)
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[:300] + bytes(100) + content[400:])


def _write_validation_only(folder):
    """Names the test images as validation images."""
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"name": "test"', '"name": "validation"'))
    for path in folder.glob("*-test*"):
        path.rename(str(path).replace("-test", "-validation"))


def _write_unlabelled(folder):
    """Gives the test images a name that is none of a part."""
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"name": "test"', '"name": "unlabelled"'))
    for path in folder.glob("*-test*"):
        path.rename(str(path).replace("-test", "-unlabelled"))


def _write_one_split(folder):
    """Leaves only the images of training, under another name."""
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"] = [split | {"name": "full"} for split in info["splits"] if split["name"] == "train"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for path in folder.glob("*-test*"):
        path.unlink()
    for path in folder.glob("*-train*"):
        path.rename(str(path).replace("-train", "-full"))


_SPOILT = "one that is cut off, damaged, too large or with objects; save arrays of numbers again with numpy.savez"
_FLAT = "give one array with these axes"
_STACK = "give one array of numbers, with images of one size (numpy.stack makes one of a list)"
_MANY = np.tile(X, 4)
NOT_UINT8 = (
    ("wrong type", X / 255, f"float64 of shape (9, 8, 8, 3); multiply by 255 and {_ROUND}"),
    ("wrong type", X.astype("f"), f"float32 of shape (9, 8, 8, 3); {_ROUND}"),
    (
        "wrong type",
        X.astype(np.uint16) * 257,
        "uint16 of shape (9, 8, 8, 3); divide them by 257 and convert them with .astype('uint8')",
    ),
    ("wrong type", X > 99, f"bool of shape (9, 8, 8, 3); multiply by 255 and {_ROUND}"),
    ("wrong type", X.astype(object), f"ndarray; {_STACK}"),
    ("wrong type", None, f"NoneType; {_STACK}"),
)
"""Images of another type, and what is said of them where they are to be classified."""
_OTHER_TYPES = (
    *(X / 255, X / np.float32(255), X.astype("f"), X.astype(np.uint16) * 257, X.astype(np.int64), X.astype(np.float16)),
    *(list(X), X.tolist()),
)
"""The same images, which `load_data` takes."""
_PIXELS = "The pixels of your arrays must be from 0 to 255, or floats from 0 to 1, got from"

ROWS = [
    # Images.
    *(_images(*row) for row in NOT_UINT8 if row[1] is None or row[1].dtype == object),
    *(Row("load_data.x_train", "right", lambda _, x=x: jnas.load_data((x, Y)), has(x_train=X)) for x in _OTHER_TYPES),
    Row("load_data.x_train", "right", lambda _: jnas.load_data((X > 99, Y)), has(x_train=255 * (X > 99))),
    Row(
        "load_data.x_train",
        "right",
        lambda _: jnas.load_data((X.astype(int) * 16, Y)),
        has(x_train=np.rint(X * (16 * 255 / 4095))),
    ),
    Row(
        "load_data.x_train",
        "right",
        lambda _: jnas.load_data((X.astype("u8") * 4, Y)),
        has(x_train=np.rint(X * (4 * 255 / 1023))),
    ),
    Row(
        "load_data.x_train",
        "wrong value",
        lambda _: jnas.load_data((X / 16, Y)),
        f"{_PIXELS} 0 to {X.max() / 16:g}; multiply them by 255 / {-(-int(X.max()) // 16)}.",
    ),
    _images("wrong value", X.astype(np.int32) * 70_000, "int32 of shape (9, 8, 8, 3); " + _SCALE),
    _images("wrong value", X / 127.5 - 1, "float64 of shape (9, 8, 8, 3); " + _SCALE),
    _arrays(
        "x_test",
        "wrong value",
        {"x_train": X / 255, "x_test": X[:6].astype(float)},
        f"x_test of your arrays must be pixels from 0 to 1, as x_train is, got from 0 to {X[:6].max()}; scale all images "
        "alike.",
    ),
    _images(
        "wrong value",
        X * np.nan,
        "float64 of shape (9, 8, 8, 3); scale them to pixels from 0 to 255 without NaN, and convert them to uint8",
    ),
    _images("wrong type", [X[0] / 2, X[0, :5]], f"list; {_STACK}"),
    Row(
        "load_data.x_train",
        "wrong type",
        lambda _: jnas.load_data(([X[0], X[0, ..., :2]], Y)),
        "x_train of your arrays must have 3 channels in all images, got 2; make them alike.",
    ),
    _images("wrong value", np.swapaxes(X, 1, 3)[..., :7], f"uint8 of shape (9, 3, 8, 7); {_TRANSPOSE}"),
    *(
        Row("load_data.x_train", "right", lambda _, x=x: _is_transposed(x), is_fine)
        for x in (np.arange(9 * 784, dtype=np.int64).reshape(9, 1, 28, 28) % 256, np.moveaxis(X, -1, 1))
    ),
    _images("wrong value", np.zeros((9, 12, 32, 32), np.uint8), f"uint8 of shape (9, 12, 32, 32); {_TRANSPOSE}"),
    _images("wrong value", X.reshape(9, -1), f"uint8 of shape (9, 192); {_FLAT}"),
    _images("empty", X[:, :0], f"uint8 of shape (9, 0, 8, 3); {_FLAT}"),
    Row(
        "load_data.x_train",
        "wrong value",
        lambda _: jnas.load_data((np.ma.masked_less(X, 9), Y)),
        "x_train of your arrays must have no masked pixels; fill them with images.filled(0).",
    ),
    Row(
        "load_data.x_train",
        "empty",
        lambda _: jnas.load_data(([], [])),
        "x_train of your arrays must have 2 or more images, got 0; add some.",
    ),
    Row("load_data.x_train", "right", lambda _: jnas.load_data((_MANY, Y)), has(in_shape=(12, 8, 8), x_train=_MANY)),
    Row("load_data.x_train", "right", lambda _: jnas.load_data(([*X[..., 0]], Y)), has(in_shape=(1, 8, 8))),
    _arrays(
        "x_test",
        "wrong value",
        {"x_test": X[:6, :7]},
        "x_test of your arrays must be uint8, from 0 to 255, of shape [N, 8, 8, 3], got uint8 of shape (6, 7, 8, 3); "
        "make them 8 pixels high and 8 wide, as the images of training are.",
    ),
    _arrays(
        "x_val",
        "empty",
        {"x_val": X[:0], "y_val": Y[:0]},
        "x_val of your arrays must have 1 or more images, got 0; add some.",
    ),
    _arrays("x_val", "right", {"x_val": X[:4], "y_val": Y[:4]}, has(x_val=X[:4], y_val=Y[:4])),
    # Labels.
    _labels("wrong value", Y[:8], f"{_LABELS} an array of int64 of shape (8,); give as many labels as images"),
    _labels("wrong type", np.eye(3)[Y] / 2, f"{_LABELS} an array of float64 of shape (9, 3); {_NUMBERED}"),
    _labels(
        "wrong type",
        np.array(["cat", None, "cow"])[Y],
        f"{_LABELS} an array of object of shape (9,); {_NUMBERED}",
    ),
    *(
        Row("load_data.y_train", "right", lambda _, y=y: jnas.load_data((X, y)), has(y_train=Y, class_names=names))
        for y, names in (
            (np.eye(3)[Y], None),
            (np.eye(3, dtype=bool)[Y], None),
            (np.array(["cat", "cow", "dog"])[Y], ("cat", "cow", "dog")),
            (np.array(["cat", "cow", "dog"], object)[Y], ("cat", "cow", "dog")),
            (np.array([b"cat", b"cow", b"dog"])[Y], ("cat", "cow", "dog")),
            (np.array(["9", "10", "11"])[Y], ("9", "10", "11")),
            (pd.Series(["cat", "cow", "dog"]).take(Y), ("cat", "cow", "dog")),
            (pd.Series(pd.Categorical(np.array(["cat", "cow", "dog"])[Y])), ("cat", "cow", "dog")),
            (pd.Series(Y, dtype="Int64"), None),
            (pd.DataFrame({"label": Y + 1}), ("1", "2", "3")),
            (np.array([3, 7, 9])[Y], ("3", "7", "9")),
            (np.array([0, 5, 9])[Y], ("0", "5", "9")),
            (Y - 1, ("-1", "0", "1")),
            (np.array([0, 1, 2**62])[Y], ("0", "1", str(2**62))),
        )
    ),
    Row(
        "load_data.y_train",
        "right",
        lambda _: jnas.load_data(ARRAYS | {"y_train": np.array([3, 7, 9])[Y], "y_test": np.array([3, 7, 9])[Y[:6]]}, 3),
        is_whole,
    ),
    Row(
        "load_data.y_train",
        "right",
        lambda _: jnas.load_data(
            ARRAYS | {"y_train": np.array(["a", "b", "c"])[Y], "y_test": ["c"] * 6, "class_names": ["c", "x", "b", "a"]}
        ),
        has(y_train=np.array([3, 2, 0])[Y], y_test=np.zeros(6), classes=4),
    ),
    _labels("wrong value", Y + 0.5, f"{_LABELS} an array of float64 of shape (9,); {_NUMBERED}"),
    *(
        Row(
            "Dataset.y_train",
            "wrong value",
            lambda _, y=y: jnas.Dataset("your arrays", X, y, [], []),  # type: ignore[arg-type]
            f"{_CLASSES} {sentence}.",
        )
        for y, sentence in (
            (Y + 1, "1, 2, 3; subtract 1, as in all other labels"),
            (Y - 1, "-1, 0, 1; add 1, as in all other labels"),
            (np.array([0, 5, 9])[Y], f"0, 5, 9; {_UNIQUE}"),
            (np.array([0, 1, 2**62])[Y], f"0, 1, {2**62}; {_UNIQUE}"),
        )
    ),
    _labels(
        "wrong value",
        ["cat"] * 9,
        "The labels of your arrays must be of 2 classes or more, got 'cat'; add images of another class",
    ),
    _arrays(
        "y_test",
        "wrong value",
        {"y_train": np.array(["a", "b", "c"])[Y], "y_test": ["a", "b", "c", "a", "d", "e"]},
        "y_test of your arrays must have classes of the training images only (a, b, c), got 'd'; add training images of "
        "it, or leave these images out.",
    ),
    _arrays(
        "y_test",
        "wrong type",
        {"y_train": np.eye(3)[Y]},
        "The labels of your arrays must be of one kind, got y_train an array of float64 of shape (9, 3), y_test an array "
        "of int64 of shape (6,); give one number for each image, with labels.argmax(-1).",
    ),
    _labels("wrong value", Y * 0, f"{_CLASSES} 0; add images of another class"),
    *(
        Row("load_data.y_train", "right", lambda _, y=y: jnas.load_data(ARRAYS | {"y_train": y}), is_whole)
        for y in (Y.astype(float), Y[:, None], Y.astype(np.uint8), list(Y))
    ),
    Row("load_data.y_train", "right", lambda _: jnas.load_data((X, Y > 0)), has(y_train=Y > 0)),
    _arrays(
        "y_test",
        "wrong value",
        {"y_test": np.full(6, 7)},
        "y_test of your arrays must be from 0 to 2, got 7; number the labels from 0, or give the right number of "
        "classes (now 3).",
    ),
    Row("load_data.classes", "right", lambda _: jnas.load_data(ARRAYS, np.int64(5)), has(classes=5)),
    Row("load_data.classes", "right", lambda _: jnas.load_data((X, np.array([0, 5, 9])[Y]), 10), has(classes=10)),
    Row(
        "load_data.classes",
        "wrong value",
        lambda _: jnas.load_data(ARRAYS, 2.5),
        "classes must be an integer from 2 to 2,147,483,647, got 2.5.",
    ),
    Row(
        "load_data.classes",
        "wrong value",
        lambda _: jnas.load_data(ARRAYS, 2),
        "y_train of your arrays must be from 0 to 1, got 2; number the labels from 0, or give the right number of "
        "classes (now 2).",
    ),
    Row(
        "load_data.classes",
        "wrong value",
        lambda _: jnas.load_data(jnas.load_data(ARRAYS), 4),
        "classes must be 3, as in the Dataset, got 4; leave it out.",
    ),
    _arrays("class_names", "right", {"class_names": np.array(["a", "b", "c"])}, has(class_names=("a", "b", "c"))),
    *(
        _arrays(
            "class_names",
            "wrong type",
            {"class_names": 3, "y_train": y, "y_test": y[:6]},
            "class_names of your arrays must be a list of text, got 3.",
        )
        for y in (Y, Y + 1, np.array(["a", "b", "c"])[Y])
    ),
    _arrays(
        "class_names",
        "wrong type",
        {"class_names": [1, 2, 3]},
        "class_names of your arrays must be a list of text, got (1, 2, 3).",
    ),
    Row(
        "load_data.class_names",
        "wrong value",
        lambda _: jnas.load_data(ARRAYS | {"class_names": ["a", "b"]}, 3),
        "class_names of your arrays must be one name for each of 3 classes, got ('a', 'b').",
    ),
    Row(
        "Dataset.classes",
        "wrong type",
        lambda _: jnas.Dataset("mine", X, Y, [], [], "3"),  # type: ignore[arg-type]
        "The number of classes of mine must be an integer from 2 to 2,147,483,647, got '3'.",
    ),
    Row(
        "Dataset.split.val_fraction",
        "wrong type",
        lambda _: jnas.load_data(ARRAYS).split(X),  # type: ignore[arg-type]
        "val_fraction must be a number in (0, 1), got an array of uint8 of shape (9, 8, 8, 3).",
    ),
    Row(
        "Dataset.split.val_fraction",
        "wrong value",
        lambda _: jnas.load_data(ARRAYS).split(1.5),
        "val_fraction must be a number in (0, 1), got 1.5.",
    ),
    Row(
        "Dataset.split.seed",
        "wrong value",
        lambda _: jnas.load_data(ARRAYS).split(0.5, -1),
        "seed must be an integer from 0 to 4,294,967,295, got -1.",
    ),
    # Names of arrays.
    *(
        _arrays("source", "wrong value", {name: X}, f"your arrays must hold {_WITH}, got {name!r} as well; {hint}.")
        for name, hint in (
            ("x_tets", "it may be meant as x_test"),
            ("Y_test", "it may be meant as y_test"),
            ("validation", "leave it out, or rename it"),
            (7, "leave it out, or rename it"),
        )
    ),
    _arrays(
        "source",
        "missing",
        {"x_val": X},
        f"your arrays must hold {_WITH}, got no y_val (it holds x_train, y_train, x_test, y_test, x_val); add what is missing, or rename it.",
    ),
    _source(
        "empty",
        {},
        f"your arrays must hold {_WITH}, got no x_train and no y_train (it holds nothing); add what is missing, or rename it",
    ),
    _arrays(
        "source",
        "wrong value",
        {"train_images": X},
        "your arrays must hold each array once, got both x_train and train_images; leave one out.",
    ),
    # Other sources.
    Row(
        "load_data.source", "right", lambda _: jnas.load_data(((X, Y), (ARRAYS["x_test"], ARRAYS["y_test"]))), is_whole
    ),
    *(
        _source(
            "wrong type", source, f"The source of images must be the path of a file or folder, got {got}; {_SOURCE}"
        )
        for source, got in ((3, "3"), (None, "None"), (b"x", "b'x'"), (X, "an array of uint8 of shape (9, 8, 8, 3)"))
    ),
    _source(
        "wrong type",
        ((X, Y), (X, Y), (X, Y)),
        "A tuple of arrays must be (x, y) or ((x_train, y_train), (x_test, y_test)), got one of length 3; give a "
        "dictionary with x_train, y_train, x_val, y_val, x_test and y_test",
    ),
    *(
        _source("missing", name, f"There is no file, folder or data set {name}: check the name, or {_SOURCE}")
        for name in ("my-images", "2024_images", "huggingface:imagenet-1k", "a b")
    ),
    _source("missing", "a/b.npz", f"There is no file or folder a/b.npz: check the name, or {_SOURCE}"),
    _source(
        "missing",
        "mnits",
        "There is no file, folder or data set of TensorFlow Datasets named 'mnits': check the name (mnist is one), or "
        "give a folder with a sub-folder a class, a CSV, Parquet or .npz file, 'excerpt' or 'cifar10'",
    ),
    _source(
        "missing",
        "cifar10:9.9.9",
        "cifar10:9.9.9 must be a name, configuration and version of TensorFlow Datasets, got another (Dataset cifar10 "
        "cannot be loaded at version 9.9.9, only: 3.0.2); give a name such as 'emnist/letters' or 'cifar10:3.0.2'",
    ),
    _source(
        "huge",
        "x" * 999,
        "The source of images must be a path of names of up to 255 characters, got '" + "x" * 76 + f"...; {_SOURCE}",
    ),
    _file(
        "foreign",
        "photos.zip",
        _write_photos,
        f"a zip file of 400 other files, such as cat/holiday_picture_0000.jpg; {_CONVERT}",
    ),
    _file("foreign", "a.npz", b"some text", f"a text file; {_CONVERT}"),
    _file("foreign", "a.png", b"\x89PNG\r\n\x1a\n", f"one picture; {_CONVERT}"),
    _file("foreign", "a.mat", b"MATLAB 5.0 MAT-file", f"a MATLAB file; {_CONVERT} (scipy.io.loadmat reads it)"),
    _file("foreign", "a.h5", b"\x89HDF\r\n\x1a\n", f"an HDF5 file; {_CONVERT} (h5py reads it)"),
    _file("foreign", "data_batch_1", b"\x80\x02}q\x01", f"a file of Python objects; {_CONVERT}"),
    _file(
        "foreign",
        "a.npy",
        b"\x93NUMPY\x01\0",
        "a NumPy file of a single array; save images and labels together with numpy.savez",
    ),
    _file("foreign", "a.bin", b"\x01\0\x02\x03", f"a file of another kind; {_CONVERT}"),
    _file("empty", "a.npz", b"", f"an empty file; {_CONVERT}"),
    _file("damaged", "a.npz", _write_cut, "a zip file that is cut off or damaged; write or copy it again"),
    _file("damaged", "a.npz", _write_damaged, _SPOILT),
    _file("foreign", "a.npz", lambda name: np.savez(name, x_train=np.array([{}]), y_train=Y), _SPOILT),
    Row(
        "load_data.source",
        "foreign",
        lambda _: (np.savez("a.npz", data=X), jnas.load_data("a.npz")),
        f"a.npz must hold {_WITH}, got 'data' as well; leave it out, or rename it.",
    ),
    Row(
        "load_data.source",
        "right",
        lambda _: (np.savez("é\udcff.npz", **ARRAYS), jnas.load_data("é\udcff.npz"))[1],
        lambda data: is_whole(data) and data.name == "é\\xff.npz",
    ),
    Row(
        "load_data.source",
        "foreign",
        lambda folder: jnas.load_data(folder),
        "{folder} must hold pictures in a sub-folder a class, such as cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg, "
        "got none (but no file); put them so, or list them in a CSV file with the columns path and label.",
    ),
    _tfds(
        "damaged",
        lambda path: (path / "dataset_info.json").write_text(""),
        f"{_TFDS} (Failed to load JSON: Expecting value: line 1 column 1 (char 0)); copy or prepare it again.",
    ),
    _tfds(
        "damaged",
        lambda path: next(path.glob("*-test*")).write_bytes(b""),
        f"{_TFDS} (ArrayRecord file should be at least 64KB big); copy or prepare it again.",
    ),
    _tfds("right", _write_one_split, lambda data: len(data.x_train) == 12 and len(data.x_test) == 0),
    _tfds(
        "right",
        _write_unlabelled,
        lambda data: data.notes == ("Splits that are not used: unlabelled.",) and len(data.x_test) == 0,
    ),
    _tfds("right", _write_validation_only, lambda data: len(data.x_val) == 6 and len(data.x_test) == 0),
    *(
        Row(
            f"load_data.{name}",
            "wrong value",
            lambda _, name=name, value=value: jnas.load_data(ARRAYS, **{name: value}),
            refused(name, condition, repr(value)),
        )
        for name, value, condition in (
            ("size", "big", SIZES),
            ("size", (1, 2, 3), SIZES),
            ("size", 0, SIZES),
            ("fit", "squeeze", "one of crop, pad, stretch"),
            ("progress", 3, "True or False"),
        )
    ),
    Row("load_data.size", "right", lambda _: jnas.load_data(ARRAYS, size=5), has(in_shape=(3, 5, 5))),
    Row("load_data.size", "right", lambda _: jnas.load_data((X / 255, Y), size=5), has(in_shape=(3, 5, 5))),
    Row("load_data.size", "right", lambda _: jnas.load_data("excerpt", size="8x6"), has(in_shape=(3, 8, 6))),
    Row("load_data.size", "right", lambda _: jnas.load_data(jnas.load_data(ARRAYS), size=8), is_whole),
    Row(
        "load_data.size",
        "wrong value",
        lambda _: jnas.load_data(jnas.load_data(ARRAYS), size=(8, 9)),
        "size must be 8x8, as in the Dataset, got '8x9'; leave it out.",
    ),
    Row(
        "load_data.x_train",
        "right",
        lambda _: jnas.load_data(([X[0], *(one[:5] for one in X[1:])], Y)),
        has(in_shape=(3, 5, 8)),
    ),
    Row(
        "Dataset.notes",
        "wrong type",
        lambda _: jnas.Dataset("mine", X, Y, [], [], notes="a"),  # type: ignore[arg-type]
        "notes of mine must be a list of text, got 'a'.",
    ),
    Row(
        "Dataset.name",
        "wrong type",
        lambda _: jnas.Dataset(3, X, Y, [], []),
        "The name of a data set must be text, got 3.",
    ),
    Row(
        "Dataset.x_val",
        "missing",
        lambda _: jnas.Dataset("mine", X, Y, [], [], x_val=X),
        "mine must have both x_val and y_val, or none of them, got only x_val.",
    ),
]
