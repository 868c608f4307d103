"""Nothing that comes from outside runs, and nothing of it breaks more than a sentence: hashes, files, options."""

import ast
import io
import pickle
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import small_arrays
from hypothesis import given
from hypothesis import strategies as st

import jnas
from jnas._cli import main
from jnas._cli import search as command
from jnas._runtime import checkpoint
from jnas._search.config import SearchConfig
from jnas.data import load_data
from jnas.errors import JnasError

SOURCE = Path(jnas.__file__).parent


class Bomb:
    """Pickled, it leaves a mark when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_the_source_unpickles_and_evaluates_nothing():
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                # Messages between this process and those that it has started, by pipes that are theirs alone; and
                # the files of CIFAR, of which no name is looked up: `_Reader.find_class` knows stand-ins alone.
                own = {"pickle"} if path.name in ("worker.py", "process_worker.py", "_cifar.py") else set()
                assert not names & ({"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"} - own), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), path
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", "") == "load"
                and "np" in ast.unparse(node.func)
            ):
                assert "allow_pickle=False" in ast.unparse(node), path


def test_an_object_in_an_npz_is_refused_and_does_not_run(tmp_path):
    mark = tmp_path / "mark"
    arrays = small_arrays() | {"x_train": np.array([Bomb(mark)] * 96, object)}
    np.savez(tmp_path / "bomb.npz", **arrays, allow_pickle=True)
    with pytest.raises(JnasError) as caught:
        load_data(str(tmp_path / "bomb.npz"))
    assert "\n" not in str(caught.value) and not mark.exists()
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(JnasError):
        load_data(str(tmp_path / "plain.npz"))
    assert not mark.exists()


def test_damaged_image_files_are_told(tmp_path):
    """Cut, or with bytes changed: read whole and right, or refused in a sentence."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **small_arrays())
    whole, generator = buffer.getvalue(), random.Random(0)
    expected = load_data(small_arrays()).fingerprint
    refused = 0
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3 == 0:
            damaged = damaged[: generator.randrange(len(whole))]
        else:
            for _ in range(generator.choice((1, 5))):
                damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path = tmp_path / "images.npz"
        path.write_bytes(damaged)
        try:
            found = load_data(str(path))
        except JnasError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert found.fingerprint == expected
    assert refused > 100


def test_damaged_checkpoints_are_told(tmp_path):
    arrays = {"weights": np.arange(1000, dtype=np.float32)}
    folder, generator = tmp_path / "saved", random.Random(0)
    checkpoint.save(folder, arrays, {"hash": "00"})
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    for path in files:
        whole = path.read_bytes()
        for cut in (True, False):
            place = generator.randrange(len(whole))
            path.write_bytes(whole[:place] if cut else whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
            try:
                assert isinstance(checkpoint.load_metadata(folder), dict)
                found = checkpoint.restore(folder, arrays)
            except JnasError as error:
                assert "\n" not in str(error)
            else:
                np.testing.assert_array_equal(found["weights"], arrays["weights"])
        path.write_bytes(whole)


VALUE = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.text(max_size=12),
    st.sampled_from(["", "None", "-1", "1e999", "nan", "../..", "'; DROP TABLE evaluations; --", "{0}", "%s", "\0"]),
)
OPTIONS = ["--" + name.replace("_", "-") for name in SearchConfig.__dataclass_fields__]


@given(st.lists(st.tuples(st.sampled_from(OPTIONS), VALUE), min_size=1, max_size=3))
def test_any_options_are_taken_or_told(given_options):
    """The search itself is not run: what is asked for is read, and checked as it would be."""
    words = [word for pair in given_options for word in pair]
    search, err = command.search, sys.stderr
    command.search, sys.stderr = lambda config, **_: None, io.StringIO()
    try:
        code = main(["search", *words])
        told = sys.stderr.getvalue()
    except SystemExit as left:  # the parser's own way to refuse
        code, told = left.code, None
    finally:
        command.search, sys.stderr = search, err
    assert code in (0, 2)
    if told:
        assert told.startswith("jnas: ") and told.count("\n") == 1 and code == 2
