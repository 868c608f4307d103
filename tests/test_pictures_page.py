"""docs/pictures.md: its code and its commands run, in order, on pictures that are made here."""

import io
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import small_arrays
from PIL import Image

import jnas
from jnas._cli import main

PAGE = Path(jnas.__file__).parent.parent / "docs" / "pictures.md"
if not PAGE.exists():
    pytest.skip("needs a checkout", allow_module_level=True)
FEW = {"num_random": 2, "generations": 0, "epochs": 1, "final_epochs": 1, "batch_size": 8, "conv_num": 1, "lin_num": 1}
FLAGS = [word for name, value in FEW.items() for word in (f"--{name.replace('_', '-')}", str(value))]
FLAGS += ["--no-known-networks", "--no-report"]


def picture(kind, seed):
    """A photograph of any size, as cameras write them: some lie on their side."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(40, 90, 2)
    pixels = np.full((height, width, 3), (230, 220, 60) if kind == "daisy" else (200, 30, 60))
    return Image.fromarray(np.clip(pixels + generator.integers(-25, 25, pixels.shape), 0, 255).astype(np.uint8))


def make_sources():
    """All that the page names: a rose to fifty daisies, scikit-learn's digits, a table, Parquet, MedMNIST's names."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    exif = Image.Exif()
    exif[0x0112] = 6
    rows, table = [], ["path,label,split"]
    for kind, count in (("daisy", 100), ("rose", 2)):
        folder = Path("flowers", kind)
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            image = picture(kind, 100 * count + number).convert(
                ["RGB", "RGBA", "P"][number % 3] if number > 1 else "RGB"
            )
            path = folder / f"{number}.{'jpg' if image.mode == 'RGB' else 'png'}"
            image.save(path, exif=exif)
            table.append(f"{path},{kind},{('train', 'train', 'val', 'test')[number % 4]}")
            rows.append({"image": {"bytes": path.read_bytes(), "path": path.name}, "label": kind})
    Path("labels.csv").write_text("\n".join(table))
    pq.write_table(pa.Table.from_pylist(rows), "flowers.parquet")
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    np.savez("digits.npz", images=digits.images, labels=digits.target)
    arrays = small_arrays(size=8, classes=3)
    kinds = {"train": "train", "val": "test", "test": "test"}
    med = {f"{part}_images": arrays[f"x_{kind}"] for part, kind in kinds.items()}
    np.savez("medmnist.npz", **med, **{f"{part}_labels": arrays[f"y_{kind}"][:, None] for part, kind in kinds.items()})


@pytest.mark.slow
def test_the_page_is_true(tmp_path, monkeypatch, capsys, fake_trainer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_sources()
    search = partial(jnas.search, **FEW, known_networks=False, report=False, verbose=False)
    classifier = partial(jnas.Classifier, **FEW, known_networks=False, report=False)
    monkeypatch.setattr(jnas, "search", lambda data, minutes, out: search(data, out=out))
    monkeypatch.setattr(jnas, "Classifier", lambda minutes, **options: classifier(**options))
    names, counts = {}, {}
    for language, block in re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
        if language == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            program, command, *words = shlex.split(line)
            assert program == "jnas" and main([command, *words, *(FLAGS if command == "search" else [])]) == 0
            told = capsys.readouterr().out
            rows = [re.split(r"\s+|,", row) for row in told.splitlines()]
            if "flowers-run" not in words:  # digits, Parquet, what MedMNIST has
                counts[words[-1]] = len(rows)
            elif command == "search":
                assert "2 classes (daisy, rose)" in told and "(height x width), are read as " in told
            else:
                assert {row[1] for row in rows} <= {"daisy", "rose", "class"} and len(rows) == 3
    predicted = [counts[name] for name in ("grey.npz", "flowers.parquet", "medmnist.npz")]
    assert predicted == [1797, 102, len(small_arrays(size=8)["x_test"])]
    assert names["data"].in_shape == (3, 24, 32) and len(names["data"].x_val) == 26
    assert names["result"].best.predict_proba(jnas.load_data("flowers").x_train).shape == (102, 2)
    assert names["classifier"].classes_.tolist() == list(range(10))
    assert jnas.load_data("labels.csv", size="24x32").in_shape == (3, 24, 32)
    with io.StringIO() as text:
        print(*jnas.load_data("flowers.parquet").notes, file=text)
        assert "are read as " in text.getvalue()


def test_the_page_is_short():
    assert PAGE.read_text().count("\n") <= 80
