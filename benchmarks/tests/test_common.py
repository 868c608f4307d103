"""What a result says of itself, and how bad input ends."""

import argparse

import common
import pytest

import jnas


def test_report_writes_provenance_without_paths_of_the_machine(monkeypatch, tmp_path, capsys):
    out, table = tmp_path / "out.json", tmp_path / "table.csv"
    monkeypatch.setattr("sys.argv", ["/somewhere/steps.py", "--hashes", str(table), "--json", str(out), "--limit", "3"])
    options = argparse.Namespace(hashes=table, limit=3, json=str(out))
    common.report({"ratio": 1.5, "rows": [1]}, options, ("ratio",))
    found = common.json.loads(out.read_text())
    assert found["benchmark"] == "steps" and found["figures"] == {"ratio": 1.5, "rows": [1]}
    assert found["command"] == "python benchmarks/steps.py --hashes table.csv --limit 3"
    assert found["arguments"] == {"hashes": "table.csv", "limit": 3}
    assert {"commit", "date", "device", "cores", "versions", "seconds"} <= set(found)
    assert str(tmp_path) not in out.read_text() and found["versions"]["jax"]
    assert common.json.loads(capsys.readouterr().out) == {"ratio": 1.5}


def test_commit_without_git_is_unknown(tmp_path):
    assert common.commit(tmp_path) == "unknown"


def test_run_bad_input_ends_in_one_sentence(monkeypatch, capsys):
    def main():
        raise jnas.JnasError("--limit must be >= 1, got 0.")

    monkeypatch.setattr("sys.argv", ["/somewhere/steps.py"])
    with pytest.raises(SystemExit) as caught:
        common.run(main)
    assert caught.value.code == 2 and capsys.readouterr().err == "steps.py: --limit must be >= 1, got 0.\n"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_read_templates_without_hashes_says_so(tmp_path, text):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(jnas.JnasError, match="has no column hash"):
        common.read_templates(tmp_path / "table.csv", 3)
    with pytest.raises(jnas.JnasError, match="cannot be read"):
        common.read_templates(tmp_path / "missing.csv", 3)
