"""Whatever comes in is right, or one sentence before anything is lost: the table of `borders`, row by row."""

import importlib
import pkgutil

import borders
import pytest

from jnas.errors import JnasError

ROWS = [
    row
    for module in pkgutil.iter_modules(borders.__path__)
    for row in importlib.import_module(f"borders.{module.name}").ROWS
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.subject} {row.kind}")
def test_a_row(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not isinstance(row.expected, str):
        assert row.expected(row.call(tmp_path))
        return
    with pytest.raises(JnasError) as error:
        row.call(tmp_path)
    sentence = str(error.value)
    assert sentence == row.expected.replace("{folder}", str(tmp_path))
    assert len(sentence.replace(str(tmp_path), "")) < 400 and "\n" not in sentence and sentence.endswith(".")
