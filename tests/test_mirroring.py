"""Images are mirrored only where a network takes their mirror images for the same."""

import numpy as np
import pytest

import jnas
from jnas._search.callbacks import Callback
from jnas._search.mirroring import warn_of_mirroring


def stripes(is_symmetric, count=700):
    """Three classes of bright stripes in noise: in rows, whose mirror images are alike, or on one side or another."""
    generator, labels = np.random.default_rng(0), np.arange(count) % 3
    images = generator.integers(0, 120, (count, 12, 12, 1))
    for image, label in zip(images, labels, strict=True):
        part = image if is_symmetric else image.swapaxes(0, 1)
        part[4 * label : 4 * label + 4] += 100
    return jnas.load_data((images.astype(np.uint8), labels))


def test_only_images_whose_mirror_images_are_taken_for_others_are_not_mirrored():
    symmetric, others = stripes(True), stripes(False)
    assert warn_of_mirroring(symmetric, symmetric.split(0.3)) is None
    told = warn_of_mirroring(others, others.split(0.3))
    assert told.startswith("Images are not mirrored: a small network recognises 100% of validation images, and 3")
    few = others.split(0.1)
    assert warn_of_mirroring(others, few) is None  # 70 images tell too little


@pytest.mark.parametrize("flip", [None, True])
def test_a_search_does_not_mirror_what_must_not_be_unless_it_is_told_to(tmp_path, monkeypatch, fake_trainer, flip):
    monkeypatch.setattr("jnas._search.setup.warn_of_mirroring", lambda *_: "Images are not mirrored.")

    class First(Callback):
        def on_search_start(self, search):
            self.recipe, self.notes = search.config.make_recipe(None), search.notes

    first = First()
    settings = {"num_random": 1, "known_networks": False, "generations": 0, "flip": flip, "callbacks": [first]}
    jnas.search(stripes(False), out=tmp_path, verbose=False, report=False, **settings)
    assert first.recipe.flip == first.recipe.test_flip == bool(flip)
    assert ("Images are not mirrored." in first.notes) != bool(flip)
