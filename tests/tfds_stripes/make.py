"""Prepare the small TFDS folder of the tests. Needs tensorflow-cpu; see README.md beside this file."""

import pathlib
import sys

import tensorflow_datasets as tfds

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from conftest import small_arrays


class Stripes(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = pathlib.Path(__file__).parent

    def _info(self):
        features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": tfds.features.ClassLabel(num_classes=3)}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {split: self._examples(split) for split in ("train", "test")}

    def _generate_examples(self, split):
        raise NotImplementedError

    def _examples(self, split):
        arrays = small_arrays(train=12, test=6)
        for i, (image, label) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)):
            yield i, {"image": image, "label": int(label)}


if __name__ == "__main__":
    Stripes(data_dir=pathlib.Path(__file__).parent, file_format="array_record").download_and_prepare()
