"""The sources of images, their checks, the split, and what is done to images on the device."""

import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small_arrays

from jnas import data as jd
from jnas.data import Dataset, load_data
from jnas.errors import JnasError


def test_load_data_excerpt_is_balanced_and_real():
    data = load_data()
    assert data.x_train.shape == (4000, 32, 32, 3) and data.x_test.shape == (1000, 32, 32, 3)
    assert data.in_shape == (3, 32, 32) and data.classes == 10
    assert np.bincount(data.y_train).tolist() == [400] * 10 and np.bincount(data.y_test).tolist() == [100] * 10
    # The first image of CIFAR-10, a frog: its first pixel as published.
    assert data.y_train[0] == 6 and data.x_train[0, 0, 0].tolist() == [59, 62, 63]


def test_load_data_npz_and_arrays_give_the_same(npz, arrays):
    from_file, from_arrays = load_data(npz), load_data(arrays)
    assert from_file.fingerprint == from_arrays.fingerprint
    assert from_file.in_shape == (3, 8, 8) and from_file.classes == 3
    assert load_data(str(npz), classes=5).classes == 5
    changed = dict(arrays, x_train=arrays["x_train"] // 2)
    assert load_data(changed).fingerprint != from_arrays.fingerprint


def test_load_data_one_channel_no_test_images(arrays):
    data = load_data({"x_train": arrays["x_train"][..., 0], "y_train": arrays["y_train"][:, None]})
    assert data.in_shape == (1, 8, 8) and len(data.x_test) == 0


def test_load_data_prepared_tfds_folder_needs_no_tensorflow():
    """The folder was written by TFDS: see tests/tfds_stripes/README.md."""
    folder = Path(__file__).parent / "tfds_stripes"
    for path in (folder, folder / "stripes" / "1.0.0"):
        data = load_data(path)
        assert data.x_train.shape == (12, 8, 8, 3) and data.x_test.shape == (6, 8, 8, 3) and data.classes == 3
        for images, labels in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
            for image, label in zip(images, labels, strict=True):
                assert image[2 * label : 2 * label + 2].min() >= 120 > image[2 * label + 2 :].max()
    assert "tensorflow" not in sys.modules


def test_split_is_decided_by_seed_and_complete(arrays):
    data = load_data(arrays)
    one, again, other = data.split(0.25, 0), data.split(0.25, 0), data.split(0.25, 1)
    assert len(one.x_val) == 24 and len(one.x_train) == 72
    assert (one.x_val == again.x_val).all() and not (one.x_val == other.x_val).all()
    both = np.concatenate([one.x_train, one.x_val])
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in data.x_train)


@pytest.mark.parametrize("size", [24, 10, 5])
def test_validation_batches_hold_all_images_once(arrays, size):
    split = load_data(arrays).split(0.25)
    images, labels = split.validation_batches(size)
    count = -(-24 // size)
    assert images.shape == (count, size, 8, 8, 3) and labels.shape == (count, size)
    assert (images.reshape(-1, 8, 8, 3)[:24] == split.x_val).all() and (labels.ravel()[:24] == split.y_val).all()
    assert (labels.ravel()[24:] == -1).all()
    assert split.validation_batches(size)[0] is images


def test_split_pickled_or_abstract_leaves_the_batches_out(arrays):
    split = load_data(arrays).split(0.25)
    size = len(pickle.dumps(split))
    split.validation_batches(24)
    assert len(pickle.dumps(split)) == size
    assert (pickle.loads(pickle.dumps(split)).x_train == split.x_train).all()
    shapes = split.shapes()
    assert shapes.x_val == jax.ShapeDtypeStruct((24, 8, 8, 3), np.uint8) and shapes.classes == 3
    assert len(pickle.dumps(shapes)) < 2000 and (split.x_val == split.validation_batches(24)[0][0]).all()


def test_repr_is_one_line_without_arrays(arrays):
    data = load_data(arrays)
    assert repr(data) == "Dataset('your arrays', 96 training and 24 test images of 8x8x3, 3 classes)"
    assert (
        repr(data.split(0.25))
        == repr(data.split(0.25).shapes())
        == "Split(72 training and 24 validation images of 8x8x3, 3 classes)"
    )


def test_normalise_scales_to_minus_one_and_one():
    pixels = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
    assert jd.normalise(pixels).ravel().tolist() == [-1.0, 1.0]


def test_random_hflip_flips_half_of_the_images():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (200, 4, 5, 3)), jnp.uint8)
    flipped = jax.jit(jd.random_hflip)(jax.random.key(0), images)
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all() and 60 < mirrored.sum() < 140


def test_alternating_hflip_shows_images_both_ways_in_two_epochs():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (200, 4, 5, 3)), jnp.uint8)
    key, numbers = jax.random.key(0), jnp.arange(200) * 7
    flip = jax.jit(jd.alternating_hflip)
    shown = [flip(key, images, numbers, jnp.int32(epoch)) for epoch in range(3)]
    mirrored = [(epoch == images[:, :, ::-1]).all((1, 2, 3)) for epoch in shown]
    assert (mirrored[0] ^ mirrored[1]).all() and (mirrored[0] == mirrored[2]).all()
    assert 60 < mirrored[0].sum() < 140
    # It is the image that decides, not its place in a batch.
    again = flip(key, images[::-1], numbers[::-1], jnp.int32(0))
    assert (again[::-1] == shown[0]).all()


def test_random_translate_is_reflected_padding_cropped():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (64, 6, 5, 2)), jnp.uint8)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    translate, seen = jax.jit(lambda key, images: jd.random_translate(key, images, 2)), set()
    for i, moved in enumerate(np.asarray(translate(jax.random.key(1), images))):
        crops = {(r, c): padded[i, r : r + 6, c : c + 5] for r in range(5) for c in range(5)}
        found = [place for place, crop in crops.items() if (crop == moved).all()]
        assert found
        seen.update(found)
    assert len(seen) > 15


def test_random_cut_out_makes_a_square_grey_that_may_be_partly_outside():
    images = jnp.full((300, 7, 6, 2), 9, jnp.uint8)
    found = np.asarray(jax.jit(lambda key: jd.random_cut_out(key, images, 3))(jax.random.key(0)))
    assert set(np.unique(found)) == {9, 128} and (found[..., 0] == found[..., 1]).all()
    grey, places = found[..., 0] == 128, set()
    for one in grey:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        assert one.sum() == len(rows) * len(columns) and np.ptp(rows) < 3 and np.ptp(columns) < 3
        places.add((rows[0], columns[0], len(rows), len(columns)))
    assert len(places) == 7 * 6 and {place[2:] for place in places} == {(2, 2), (2, 3), (3, 2), (3, 3)}


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001])
def test_split_empty_side_is_refused(arrays, share):
    with pytest.raises(JnasError, match=rf"^val_fraction must be .*, got {share:g}[;.]"):
        load_data(arrays).split(share)


def test_load_data_own_validation_images_are_taken(arrays):
    val = small_arrays(train=30, seed=1)
    own = {"x_val": val["x_train"], "y_val": val["y_train"]}
    data, plain = load_data(arrays | own | {"class_names": np.array(["a", "b", "c"])}), load_data(arrays)
    split = data.split(0.25)
    assert (split.x_val == own["x_val"]).all() and (split.y_val == own["y_val"]).all()
    assert (split.x_train == arrays["x_train"]).all()
    assert split.validation_batches(20)[0].shape == (2, 20, 8, 8, 3)
    assert data.class_names == ("a", "b", "c") and plain.class_names is plain.x_val is None
    assert repr(data).startswith("Dataset('your arrays', 96 training, 30 validation and 24 test images of 8x8x3")
    # What is as before has the fingerprint of before.
    assert plain.fingerprint == load_data(arrays | {"class_names": ["x", "y", "z"]}).fingerprint == "68e380dc8106ad80"
    assert data.fingerprint != plain.fingerprint


def test_load_data_medmnist_names_and_pairs_are_taken(arrays):
    names = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
    expected = load_data(arrays).fingerprint
    labels = {name: arrays[name][:, None].astype(np.uint8) for name in ("y_train", "y_test")}
    assert load_data({names[name]: array for name, array in (arrays | labels).items()}).fingerprint == expected
    train, test = ((arrays[f"x_{split}"], arrays[f"y_{split}"].astype(float)) for split in ("train", "test"))
    assert load_data((train, test)).fingerprint == expected
    assert load_data(train).fingerprint == load_data({"x_train": train[0], "y_train": train[1]}).fingerprint


@pytest.mark.parametrize(
    ("images", "sentence"),
    [(np.full((9, 4, 4, 1), 7), "all alike"), (np.arange(144).reshape(9, 4, 4, 1) // 3 % 2, "only 0 and 1")],
)
def test_load_data_warns_of_images_that_show_nothing(images, sentence):
    with pytest.warns(UserWarning, match=sentence):
        load_data((images.astype(np.uint8), np.arange(9) % 3))


def test_load_data_dataset_is_returned_as_it_is(arrays):
    data = load_data(arrays)
    assert isinstance(data, Dataset) and load_data(data) is data
