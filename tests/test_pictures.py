"""Pictures on disk: how files become pixels, folders and tables become data sets, and what is said of the rest."""

import io
import json
import pickle
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from jnas import load_data
from jnas._runtime.compilation_cache import cache_dir
from jnas.data import _reading
from jnas.data._pictures import fit_array, read_header, read_picture
from jnas.data._sizes import to_size
from jnas.errors import JnasError

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def photo(name, seed, width=40, height=32):
    """A picture whose class is its colour, with noise."""
    noise = np.random.default_rng(seed).integers(-20, 20, (height, width, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8))


def write_folder(root, counts, suffix=".png", first=0, **size):
    """Pictures in a folder a class, numbered from `first`."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            photo(name, 1000 * first + 100 * list(COLOURS).index(name) + number, **size).save(
                root / name / f"{number}{suffix}"
            )
    return root


def colours_of(images, labels, names):
    """Whether each image has the colour of its class."""
    means = images.reshape(len(images), -1, 3).mean(1)
    expected = np.array([COLOURS[names[label]] for label in labels])
    return bool((np.abs(means - expected) < 25).all())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos", {"red": 6, "green": 5, "blue": 4})


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


GRADIENT = np.add.outer(np.arange(24) * 8, np.arange(16) * 3).astype(np.uint8)  # 24 high, 16 wide
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: lambda x: np.rot90(x),
}
"""By EXIF's orientation: what a stored picture looks like upright."""


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_read_as_its_camera_was_held(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(GRADIENT), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = TURNS[orientation](GRADIENT)
    header = read_header(content)
    assert header.size == upright.shape
    found = read_picture(content, upright.shape, 1, "crop")[..., 0]
    assert np.abs(found.astype(int) - upright).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_with_damaged_exif_data_is_read(kind):
    content = encoded(Image.fromarray(GRADIENT), kind, exif=b"Exif\0\0damaged", quality=95)
    assert read_header(content).size == GRADIENT.shape
    found = read_picture(content, GRADIENT.shape, 1, "crop")[..., 0]
    assert np.abs(found.astype(int) - GRADIENT).max() <= 9


def in_mode(mode):
    """A grey picture of 100 in any mode of Pillow's, opaque."""
    if mode.startswith("I;16") or mode == "I":
        return Image.fromarray(np.full((8, 8), 100 * 257, np.uint16 if mode != "I" else np.int32))
    if mode == "F":
        return Image.fromarray(np.full((8, 8), 100 / 255, np.float32))
    return Image.new("L", (8, 8), 100).convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "TIFF") for mode in ("L", "RGB", "RGBA", "CMYK", "I;16", "I", "F")),
        *(("RGB", kind) for kind in ("JPEG", "BMP", "WEBP", "GIF", "PPM")),
        ("CMYK", "JPEG"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_any_mode_has_its_pixels(mode, kind, channels):
    pixels = read_picture(encoded(in_mode(mode), kind), (8, 8), channels, "crop")
    assert pixels.shape == (8, 8, channels) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 100).max() <= 3


def test_a_picture_of_one_bit_is_black_and_white():
    pixels = read_picture(encoded(Image.fromarray(np.eye(8) > 0), "PNG"), (8, 8), 1, "crop")
    assert (pixels[..., 0] == 255 * np.eye(8)).all()


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    for content in (
        encoded(clear, "PNG"),
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "GIF", transparency=1),
    ):
        assert (read_picture(content, (8, 8), 3, "crop") == 255).all()


def test_an_animation_is_its_first_frame():
    frames = [Image.new("RGB", (8, 8), COLOURS[name]) for name in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(read_picture(content, (8, 8), 3, "crop") - np.array(COLOURS["red"])).max() < 10


def test_fits_crop_pad_and_stretch():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 250  # the middle is white
    content = encoded(Image.fromarray(wide), "PNG")
    crop, pad, stretch = (read_picture(content, (12, 12), 3, fit)[..., 0] for fit in ("crop", "pad", "stretch"))
    assert crop[:, 1:-1].min() > 240
    assert pad[:4].max() == pad[8:].max() == 0 and pad[4:8, 5:7].min() > 200 and pad[:, :3].max() < 20
    assert stretch[:, 5:7].min() > 240 and stretch[:, :3].max() < 20
    for fit, expected in (("crop", crop), ("pad", pad), ("stretch", stretch)):
        assert (fit_array(wide, (12, 12), fit)[..., 0] == expected).all()
        assert (fit_array(wide[..., :2], (12, 12), fit) == expected[..., None]).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(fit):
    image = Image.fromarray(
        np.kron(np.random.default_rng(0).integers(0, 255, (10, 15, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    )
    contents = encoded(image, "JPEG", quality=95, subsampling=0), encoded(image, "PNG")
    jpeg, png = (read_picture(content, (40, 40), 3, fit).astype(int) for content in contents)
    assert np.abs(jpeg - png).mean() < 9


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (32, (32, 32)),
        ("32", (32, 32)),
        ("48x64", (48, 64)),
        (" 48 X 64 ", (48, 64)),
        ((48, 64), (48, 64)),
        ([1.0, np.int8(2)], (1, 2)),
    ],
)
def test_a_size_may_be_written_in_many_ways(value, size):
    assert to_size("size", value) == size


def test_a_folder_a_class_is_a_data_set(folder):
    data = load_data(folder)
    assert data.name == "photos" and data.class_names == ("blue", "green", "red") and data.in_shape == (3, 32, 40)
    assert np.bincount(data.y_train).tolist() == [4, 5, 6] and len(data.x_test) == 0 and data.x_val is None
    assert colours_of(data.x_train, data.y_train, data.class_names) and data.notes == ()
    assert load_data(folder, size=8).in_shape == (3, 8, 8)
    assert load_data(str(folder), size="8x6", fit="stretch").in_shape == (3, 8, 6)


def test_pictures_of_many_sizes_and_modes_have_one(tmp_path):
    root = tmp_path / "mixed"
    for number, (width, height) in enumerate([(200, 90), (80, 120), (100, 100), (30, 300), (300, 200)]):
        for name in ("red", "blue"):
            (root / name).mkdir(parents=True, exist_ok=True)
            image = photo(name, number, width, height)
            image = image.convert(["RGB", "P", "RGBA", "CMYK", "RGB"][number])
            image.save(root / name / f"{number}.{'jpg' if number == 3 else 'png'}")
    data = load_data(root)
    assert data.in_shape == (3, 64, 64) and colours_of(data.x_train, data.y_train, data.class_names)
    (note,) = data.notes
    assert note == (
        "The pictures, from 90 x 30 to 300 x 300 (height x width), are read as 64 x 64, the middle of each; size "
        "(--size) and fit (--fit) change that."
    )


def test_grey_pictures_have_one_channel(tmp_path):
    for number in range(4):
        folder = tmp_path / "grey" / str(9 + number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(GRADIENT, number, 0)).save(folder / f"{number}.png")
    data = load_data(tmp_path / "grey")
    assert data.in_shape == (1, 24, 16) and data.class_names == ("9", "10") and data.y_train.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "valid", "TEST"), ("training", "validation", "testing")]
)
def test_folders_of_parts_share_the_classes_of_training(tmp_path, names):
    """A class that is missing in one of them does not shift the labels of others."""
    root = tmp_path / "parts"
    write_folder(root / names[0], {"red": 3, "green": 3, "blue": 3})
    write_folder(root / names[1], {"green": 2, "red": 1}, first=10)
    write_folder(root / names[2], {"red": 2}, first=20)
    data = load_data(root)
    assert (
        data.class_names == ("blue", "green", "red")
        and data.y_val.tolist() == [1, 1, 2]
        and data.y_test.tolist() == [2, 2]
    )
    for images, labels in ((data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)):
        assert colours_of(images, labels, data.class_names)
    assert len(data.split(0.25).x_val) == 3


def test_a_class_that_training_lacks_is_told(tmp_path):
    write_folder(tmp_path / "parts" / "train", {"red": 3, "green": 3})
    write_folder(tmp_path / "parts" / "val", {"blue": 3}, first=10)
    with pytest.raises(
        JnasError, match=r"y_val of parts must have classes of the training images only \(green, red\), got 'blue'"
    ):
        load_data(tmp_path / "parts")


def test_what_is_left_out_of_a_folder_is_told(folder):
    (folder / "red" / "readme.txt").write_text("red ones")
    (folder / "red" / ".DS_Store").write_text("x")
    (folder / "cover.png").write_bytes((folder / "red" / "0.png").read_bytes())
    (folder / "yellow").mkdir()
    (folder / ".git").mkdir()
    data = load_data(folder)
    assert data.class_names == ("blue", "green", "red") and len(data.x_train) == 15
    assert data.notes == (
        "Left out, as outside of the folders of classes: cover.png.",
        "Left out, as no pictures: red/readme.txt.",
        "Folders without pictures: yellow.",
    )


def test_a_class_may_be_called_train(tmp_path):
    root = write_folder(tmp_path / "vehicles", {"red": 2, "blue": 2})
    (root / "red").rename(root / "train")
    assert load_data(root).class_names == ("blue", "train")


def test_a_folder_within_folders_and_links_is_found(tmp_path):
    write_folder(tmp_path / "a" / "b" / "c", {"red": 2, "blue": 2})
    (tmp_path / "a" / "b" / "c" / "red" / "deep").mkdir()
    photo("red", 99).save(tmp_path / "a" / "b" / "c" / "red" / "deep" / "9.png")
    (tmp_path / "a" / "b" / "c" / "red" / "loop").symlink_to(tmp_path / "a" / "b" / "c")
    data = load_data(tmp_path / "a")
    assert data.class_names == ("blue", "red") and data.y_train.tolist() == [0, 0, 1, 1, 1]


def test_one_broken_file_in_a_hundred_is_named_and_left_out(tmp_path):
    root = write_folder(tmp_path / "many", {"red": 60, "blue": 60}, width=8, height=8)
    (root / "red" / "7.png").write_bytes((root / "red" / "7.png").read_bytes()[:60])
    data = load_data(root)
    assert len(data.x_train) == 119 and np.bincount(data.y_train).tolist() == [60, 59]
    assert colours_of(data.x_train, data.y_train, data.class_names)
    assert data.notes[0].startswith("Of 120 pictures 1 cannot be read and is left out: red/7.png (")
    for number in (1, 2):
        (root / "red" / f"{number}.png").write_text("no picture")
    with pytest.raises(
        JnasError, match=r"^The pictures of many must be readable, all but 1 %, got 2 of 120 that are not: "
    ):
        load_data(root)


def test_pictures_are_read_once_and_again_when_one_changes(folder, monkeypatch):
    first, calls = load_data(folder), []
    read = _reading.read_picture
    monkeypatch.setattr(_reading, "read_picture", lambda *arguments: calls.append(1) or read(*arguments))
    again = load_data(folder)
    assert not calls and again.fingerprint == first.fingerprint and again.notes == first.notes
    assert load_data(folder, size=12).in_shape == (3, 12, 12) and len(calls) == 15
    photo("red", 5000).save(folder / "red" / "0.png")
    assert load_data(folder).fingerprint != first.fingerprint and len(calls) == 30
    for path in cache_dir("pictures").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    assert load_data(folder, size=12).in_shape == (3, 12, 12) and len(calls) == 45


def test_a_cache_that_cannot_be_written_is_no_error(folder, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    assert len(load_data(folder).x_train) == 15
    monkeypatch.setattr(
        "jnas.data._picture_cache.np.savez", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full"))
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert len(load_data(folder).x_train) == 15


def test_more_than_the_memory_is_a_sentence(folder, monkeypatch):
    monkeypatch.setattr(_reading, "machine_memory", lambda: 10_000)
    with pytest.raises(
        JnasError, match=r"^The images of photos must fit into the memory of this machine .* give a smaller size"
    ):
        load_data(folder)
    assert load_data(folder, size=8).in_shape == (3, 8, 8)


def test_many_pictures_are_counted_while_they_are_read(folder, monkeypatch, capsys):
    monkeypatch.setattr(_reading, "_MANY", 10)
    load_data(folder, progress=False)
    load_data(folder, size=9, progress=True)
    assert capsys.readouterr().out.splitlines() == [
        "Looking at: 15 pictures of photos.",
        "Reading as 9 x 9 x 3 (0 MiB): 15 pictures of photos.",
    ]


def test_a_table_of_paths_and_labels_is_a_data_set(folder):
    table = folder.parent / "labels.csv"
    rows = [(f"photos/{name}/{number}.png", name) for name in ("red", "green", "blue") for number in range(4)]
    expected = load_data(folder).class_names
    for text in (
        "path,label\n" + "".join(f"{path},{name}\n" for path, name in rows),
        "\ufeffImage Path;Category;width\r\n" + "".join(f"{path};{name};3\r\n" for path, name in rows),
        "".join(f"{path}\t{name}\n" for path, name in rows),
        "label,file_name\n" + "".join(f'{name},"{folder.parent}/{path}"\n' for path, name in rows),
    ):
        table.write_text(text)
        data = load_data(table)
        assert (
            data.class_names == expected
            and colours_of(data.x_train, data.y_train, expected)
            and len(data.x_train) == 12
        )
        assert data.notes == (("Columns that are not used: width.",) if "width" in text else ())


def test_a_table_may_say_which_part_a_picture_belongs_to(folder):
    table = folder.parent / "labels.csv"
    parts = ("test", "train", "valid", "train")
    table.write_text(
        "split,path,label\n"
        + "".join(
            f"{parts[number]},photos/{name}/{number}.png,{name}\n" for name in ("red", "blue") for number in range(4)
        )
    )
    data = load_data(table)
    assert data.y_train.tolist() == [1, 1, 0, 0] and data.y_val.tolist() == data.y_test.tolist() == [1, 0]
    for images, labels in ((data.x_train, data.y_train), (data.x_val, data.y_val), (data.x_test, data.y_test)):
        assert colours_of(images, labels, data.class_names)


def write_parquet(path, names, first=0, metadata=True, labels=None, **columns):
    """A table as Hugging Face writes it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(photo(name, first + i), "PNG"), "path": f"{i}.png"} for i, name in enumerate(names)]
    order = sorted(COLOURS)
    table = pa.table({"image": images, "label": labels or [order.index(name) for name in names], **columns})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": order}}
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def test_parquet_as_hugging_face_writes_it_is_a_data_set(tmp_path):
    root = tmp_path / "toy"
    write_parquet(root / "data" / "test-00000-of-00001.parquet", ["red", "blue"], 90)
    write_parquet(root / "data" / "train-00000-of-00002.parquet", ["red", "blue", "green"], id=[1, 2, 3])
    write_parquet(root / "data" / "train-00001-of-00002.parquet", ["green", "blue"], 40)
    data = load_data(root)
    assert data.class_names == ("blue", "green", "red")
    assert data.y_train.tolist() == [2, 0, 1, 1, 0] and data.y_test.tolist() == [2, 0]
    assert colours_of(data.x_train, data.y_train, data.class_names) and colours_of(
        data.x_test, data.y_test, data.class_names
    )
    single = load_data(root / "data" / "train-00000-of-00002.parquet", size=10)
    assert single.y_train.tolist() == [2, 0, 1] and single.in_shape == (3, 10, 10)
    assert "Columns that are not used: id." in single.notes


def test_parquet_by_folders_of_parts_without_names_and_without_labels(tmp_path):
    root = tmp_path / "toy"
    write_parquet(root / "default" / "train" / "0000.parquet", ["red", "blue"] * 2, metadata=False)
    write_parquet(root / "default" / "validation" / "0000.parquet", ["blue"], 50, metadata=False)
    write_parquet(root / "default" / "test" / "0000.parquet", ["red"], 60, metadata=False, labels=[-1])
    data = load_data(root)
    assert data.y_train.tolist() == [1, 0, 1, 0] and data.y_val.tolist() == [0] and len(data.x_test) == 0
    assert data.class_names == ("0", "2") and "test/0000.parquet has no labels and is left out." in " ".join(data.notes)


def write_cifar(folder, content=None):
    generator = np.random.default_rng(0)
    folder.mkdir()
    images = generator.integers(0, 255, (60, 3, 32, 32)).astype(np.uint8)
    labels = list(range(10)) * 6
    for i, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        part = slice(10 * i, 10 * i + 10)
        batch = {b"data": images[part].reshape(10, -1), b"labels": labels[part], b"batch_label": b"x"}
        (folder / name).write_bytes(pickle.dumps(content or batch, protocol=2))
    names = [f"class {number}".encode() for number in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return images


def test_cifar_as_its_authors_have_it_is_a_data_set(tmp_path):
    images = write_cifar(tmp_path / "cifar-10-batches-py")
    for path in (tmp_path, tmp_path / "cifar-10-batches-py"):
        data = load_data(path)
        assert (data.x_train == images[:50].transpose(0, 2, 3, 1)).all() and len(data.x_test) == 10
        assert data.class_names[9] == "class 9" and data.y_train.tolist() == list(range(10)) * 5
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    assert len(load_data(tmp_path).x_train) == 40 and "has 4 of the 5 batches" in load_data(tmp_path).notes[0]


def test_cifar_of_python_2_is_read(tmp_path):
    """The files of the authors: text is bytes there, and comes as other instructions."""
    pixels = np.random.default_rng(1).integers(0, 256, 2 * 3072).astype(np.uint8)
    start = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x00K\x01eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
    )
    array = b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02M\x00\x0c\x86"
    array += b"cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\t"
    state = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + (2 * 3072).to_bytes(4, "little")
    content = start + array + state + pixels.tobytes() + b"tbu."
    assert pickle.loads(content, encoding="bytes")[b"labels"] == [0, 1]
    (tmp_path / "data_batch_1").write_bytes(content)
    data = load_data(tmp_path)
    assert (data.x_train == pixels.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)).all() and data.y_train.tolist() == [
        0,
        1,
    ]
    for end in (100, 500, len(content) - 1):
        (tmp_path / "data_batch_1").write_bytes(content[:end])
        with pytest.raises(JnasError, match="must be a file of CIFAR-10 or CIFAR-100, got a damaged"):
            load_data(tmp_path)


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (self.mark, "w")


def test_cifar_files_run_no_code(tmp_path):
    write_cifar(tmp_path / "cifar", {b"data": Bomb(str(tmp_path / "mark")), b"labels": []})
    with pytest.raises(JnasError, match=r"data_batch_1 must be a file of CIFAR-10 or CIFAR-100, got a damaged"):
        load_data(tmp_path / "cifar")
    assert not (tmp_path / "mark").exists()


def test_equal_images_are_counted(tmp_path):
    root = write_folder(tmp_path / "parts" / "train", {"red": 3, "blue": 3})
    for part in ("val", "test"):
        write_folder(tmp_path / "parts" / part, {"red": 2, "blue": 1}, first=10 if part == "val" else 20)
    (tmp_path / "parts" / "test" / "red" / "copy.png").write_bytes((root / "red" / "0.png").read_bytes())
    (root / "red" / "copy.png").write_bytes((root / "red" / "1.png").read_bytes())
    (note,) = load_data(tmp_path / "parts").notes
    assert note.startswith(
        "Equal images: 1 of 7 training images repeat others; 1 of 4 test images are training images."
    )


def test_nearly_equal_images_are_counted_but_not_such_as_are_alike_by_their_kind():
    generator = np.random.default_rng(0)
    scenes = generator.integers(0, 256, (40, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    train = (0.7 * scenes + generator.integers(0, 60, scenes.shape)).astype(np.uint8)
    darker = (0.6 * train[:7] + 20).astype(np.uint8)
    others = generator.integers(0, 256, (5, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    labels = np.arange(40) % 2
    arrays = {"x_train": train, "y_train": labels, "x_val": others, "y_val": labels[:5], "y_test": labels[:12]}
    (note,) = load_data(arrays | {"x_test": np.concatenate([darker, others])}).notes
    assert note.startswith("Equal images: 7 of 12 test images are nearly equal to one. Accuracies on")
    same = (scenes[:1] + generator.integers(0, 6, scenes.shape)).clip(0, 255).astype(np.uint8)
    assert (
        load_data({"x_train": same[:30], "y_train": labels[:30], "x_test": same[30:], "y_test": labels[30:]}).notes
        == ()
    )


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: None, "must hold pictures in a sub-folder a class, .* got none"),
        (lambda root: photo("red", 0).save(root / "a.png"), "got 1 pictures outside of such folders"),
        (
            lambda root: write_folder(root, {"red": 3}),
            "The labels of photos must be of 2 classes or more, got 'red'; add images of another class",
        ),
        (
            lambda root: [write_folder(root / n, {"red": 2, "blue": 2}) for n in ("train", "val", "valid")],
            "one folder of each part",
        ),
        (
            lambda root: [write_folder(root / n, {"red": 2, "blue": 2}) for n in ("train", "extra")],
            "got some in extra as well",
        ),
        (lambda root: (root / "a.parquet").write_bytes(b"PAR1 no"), "must be a Parquet file that can be read"),
    ],
)
def test_a_folder_that_is_none_is_told(tmp_path, make, sentence):
    root = tmp_path / "photos"
    root.mkdir()
    make(root)
    with pytest.raises(JnasError, match=sentence) as caught:
        load_data(root)
    assert "\n" not in str(caught.value) and len(str(caught.value).replace(str(tmp_path), "")) < 400


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "got an empty one"),
        ("a,b\n1,2\n", "must be a CSV file with the columns path, label and, if there are parts, split, got a, b;"),
        ("path,label\n", "must have a row for each picture, got none"),
        ("path,label\na.png\n", "must have 2 columns, got 1 in row 2"),
        ("path,label\na.png,\n", "must have a path, a label and one of train, val and test in each row"),
        ("path,label,split\na.png,cat,holdout\n", "got a.png, cat, holdout in row 2"),
        ("path,label\na.png,cat\nb.png,dog\n", r"got 2 of 2 that are not: a.png \(not there\), b.png \(not there\)"),
        ("path,label\n\0,cat\nb.png,dog\n", "got 2 of 2 that are not"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path, text, sentence):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(JnasError, match=sentence):
        load_data(tmp_path / "labels.csv")


def test_odd_pictures_warn_of_nothing(folder):
    image = Image.new("P", (40, 32))
    image.info["transparency"] = b"\0\1"
    image.save(folder / "red" / "9.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_data(folder)


def test_reading_pictures_needs_no_torch(folder):
    load_data(folder)
    assert "torchvision" not in sys.modules
