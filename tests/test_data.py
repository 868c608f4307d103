"""The sources of images, their checks, the split, and what is done to images on the device."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnas.data import Dataset, load_data
from jnas.data import _augment as augment
from jnas.errors import JnasError


def test_the_excerpt_is_balanced_and_real():
    data = load_data()
    assert data.x_train.shape == (4000, 32, 32, 3) and data.x_test.shape == (1000, 32, 32, 3)
    assert data.in_shape == (3, 32, 32) and data.classes == 10
    assert np.bincount(data.y_train).tolist() == [400] * 10 and np.bincount(data.y_test).tolist() == [100] * 10
    # The first image of CIFAR-10, a frog: its first pixel as published.
    assert data.y_train[0] == 6 and data.x_train[0, 0, 0].tolist() == [59, 62, 63]


def test_npz_and_arrays_are_the_same(npz, arrays):
    from_file, from_arrays = load_data(npz), load_data(arrays)
    assert from_file.fingerprint == from_arrays.fingerprint
    assert from_file.in_shape == (3, 8, 8) and from_file.classes == 3
    assert load_data(str(npz), classes=5).classes == 5
    changed = dict(arrays, x_train=arrays["x_train"] // 2)
    assert load_data(changed).fingerprint != from_arrays.fingerprint


def test_one_channel_and_no_test_images(arrays):
    data = load_data({"x_train": arrays["x_train"][..., 0], "y_train": arrays["y_train"][:, None]})
    assert data.in_shape == (1, 8, 8) and len(data.x_test) == 0


def test_a_prepared_tfds_folder_is_read_without_tensorflow(tmp_path):
    """The folder was written by TFDS: see tests/tfds_stripes/README.md."""
    folder = Path(__file__).parent / "tfds_stripes"
    for path in (folder, folder / "stripes" / "1.0.0"):
        data = load_data(path)
        assert data.x_train.shape == (12, 8, 8, 3) and data.x_test.shape == (6, 8, 8, 3) and data.classes == 3
        for images, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
            for image, label in zip(images, labels, strict=True):
                assert image[2 * label : 2 * label + 2].min() >= 120 > image[2 * label + 2 :].max()
    assert "tensorflow" not in sys.modules
    with pytest.raises(JnasError, match="should hold one prepared TensorFlow Datasets folder"):
        load_data(tmp_path)


def test_a_name_that_tfds_does_not_know():
    with pytest.raises(JnasError, match="'stripes_and_dots' is no file, no folder and no data set"):
        load_data("stripes_and_dots")


def test_split_is_by_seed_and_complete(arrays):
    data = load_data(arrays)
    one, again, other = data.split(0.25, 0), data.split(0.25, 0), data.split(0.25, 1)
    assert len(one.x_val) == 24 and len(one.x_train) == 72
    assert (one.x_val == again.x_val).all() and not (one.x_val == other.x_val).all()
    both = np.concatenate([one.x_train, one.x_val])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in data.x_train)


def test_normalise():
    pixels = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
    assert augment.normalise(pixels).ravel().tolist() == [-1.0, 1.0]


def test_flip_mirrors_half_of_the_images():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (200, 4, 5, 3)), jnp.uint8)
    flipped = augment.flip(jax.random.key(0), images)
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all() and 60 < mirrored.sum() < 140


def test_flips_that_alternate_show_each_image_both_ways_in_two_epochs():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (200, 4, 5, 3)), jnp.uint8)
    key, numbers = jax.random.key(0), jnp.arange(200) * 7
    shown = [augment.alternate(key, images, numbers, jnp.int32(epoch)) for epoch in range(3)]
    mirrored = [(epoch == images[:, :, ::-1]).all((1, 2, 3)) for epoch in shown]
    assert (mirrored[0] ^ mirrored[1]).all() and (mirrored[0] == mirrored[2]).all()
    assert 60 < mirrored[0].sum() < 140
    # It is the image that decides, not its place in a batch.
    again = augment.alternate(key, images[::-1], numbers[::-1], jnp.int32(0))
    assert (again[::-1] == shown[0]).all()


def test_shift_is_a_reflected_padding_cropped():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (64, 6, 5, 2)), jnp.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    seen = set()
    for i, moved in enumerate(np.asarray(augment.shift(jax.random.key(1), images, 2))):
        crops = {(r, c): padded[i, r : r + 6, c : c + 5] for r in range(5) for c in range(5)}
        found = [place for place, crop in crops.items() if (crop == moved).all()]
        assert found
        seen.update(found)
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_train": None}, "lack x_train"),
        ({"x_train": np.zeros((96, 8, 8, 3))}, "x_train of type float64"),
        ({"x_train": np.zeros((96, 64), np.uint8)}, "x_train of type uint8 and shape (96, 64)"),
        ({"y_train": np.zeros(95, int)}, "y_train of type int64 and shape (95,) beside 96 images"),
        ({"y_train": np.zeros(96)}, "y_train of type float64"),
        ({"y_train": np.zeros(96, int)}, "1 class only"),
        ({"y_train": np.full(96, -1)}, "class"),
        ({"y_test": np.full(24, 7)}, "the label 7 in y_test, outside 0 to 2"),
        ({"x_test": np.zeros((24, 9, 8, 3), np.uint8)}, "make them one size"),
    ],
)
def test_bad_arrays_are_named(arrays, change, sentence):
    arrays = {name: value for name, value in (arrays | change).items() if value is not None}
    with pytest.raises(JnasError) as caught:
        load_data(arrays)
    assert sentence in str(caught.value)


def test_labels_outside_the_stated_classes(arrays):
    with pytest.raises(JnasError, match=r"the label 2 in y_train, outside 0 to 1"):
        load_data(arrays, classes=2)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001])
def test_a_split_with_an_empty_side(arrays, share):
    with pytest.raises(JnasError, match="leaves images on both sides"):
        load_data(arrays).split(share)


def test_files_that_are_not_what_they_should_be(tmp_path, arrays):
    missing, text, single, objects = (tmp_path / name for name in ("no.npz", "text.npz", "one.npz", "objects.npz"))
    text.write_text("not a zip file")
    with single.open("wb") as file:
        np.save(file, arrays["x_train"])
    np.savez(objects, x_train=np.array([{}], object), y_train=np.zeros(1, int))
    other = tmp_path / "other.npz"
    np.savez(other, images=arrays["x_train"])
    for source, sentence in (
        (missing, "There is no file or folder"),
        (text, "cannot be read as an .npz"),
        (single, "is a single array"),
        (objects, "cannot be read as an .npz"),
        (other, "has no x_train and no y_train (it holds images)"),
    ):
        with pytest.raises(JnasError) as caught:
            load_data(source)
        assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_dataset_passes_through(arrays):
    data = load_data(arrays)
    assert isinstance(data, Dataset) and load_data(data) is data
