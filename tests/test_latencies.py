"""Latencies of another machine, as an export's script prints them, in place of those that a search measures."""

import json

import jax
import numpy as np
import pytest
from conftest import small_arrays

import jnas
from jnas._search import objectives
from jnas._search.objectives import Latencies, read_latencies
from jnas.errors import JnasError
from jnas.space import Candidate, Space

PRINTED = "a file that jnas latency or an export's latency.py printed, got "
SPACE = Space((3, 8, 8), 3, conv_num=3, lin_num=1)


@pytest.fixture(scope="module")
def templates():
    genomes = SPACE.sample_valid(jax.random.key(0), 12)
    return list({template.hash: template for template in map(SPACE.template, np.asarray(genomes))}.values())


def milliseconds(template):
    """What a machine takes that is as the model of latency says."""
    return 0.5 + 0.1 * len(template.layers) + 0.2 * template.cost.flops / 1e6


def row(template, **changes):
    found = {"hash": template.hash, "in_shape": [3, 8, 8], "classes": 3, "form": "onnx", "batch_size": 1, "threads": 1}
    return found | {"median_ms": milliseconds(template)} | changes


def write(folder, rows):
    path = folder / "latencies.json"
    path.write_text(json.dumps({"processor": "Cortex-A72", "rows": list(rows)}))
    return path


def test_latencies_of_a_file_are_taken_and_others_estimated(templates, tmp_path, monkeypatch):
    monkeypatch.setattr(objectives, "latency_ms", None)  # nothing is measured here
    timed, others = templates[:8], templates[8:]
    noise = [row(timed[0], batch_size=32, median_ms=9.0), row(timed[0], threads=4, median_ms=9.0), {"file": "a.onnx"}]
    noise += [row(one, form="int8", median_ms=9.0) for one in timed] + [row(others[0], classes=4, median_ms=9.0)]
    path = write(tmp_path, [*map(row, timed), *noise])
    assert read_latencies(path, SPACE) == {one.hash: milliseconds(one) for one in timed}
    store = jnas.Store(tmp_path / "a.duckdb")
    latencies = Latencies(store, SPACE, objectives.read_latencies(path, SPACE))
    for template in templates:
        candidate = Candidate.from_hash(template.hash, SPACE)
        assert latencies.measure(candidate) == pytest.approx(milliseconds(template), rel=1e-3)
        assert latencies.costs([candidate], ["latency"])[0, 0] == latencies.measured[template.hash]
    np.testing.assert_allclose(latencies.fit([]), [0.5, 0.1, 0.2, 0.0], atol=1e-3)
    assert not store.is_made


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, PRINTED),
        ("[]", PRINTED),
        ('{"rows": [{"hash": 3}]}', PRINTED),
        (
            '{"rows": []}',
            "a file with 5 or more templates for 3x8x8 images and 3 classes, got 0; export 5 networks or more",
        ),
    ],
)
def test_another_file_is_refused(text, sentence, tmp_path):
    path = tmp_path / "latencies.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(JnasError) as caught:
        read_latencies(path, SPACE)
    assert str(caught.value).startswith(f"latencies must be {sentence}")


@pytest.mark.slow
def test_a_search_takes_latencies_of_a_file(templates, tmp_path, monkeypatch, fake_trainer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(objectives, "latency_ms", None)  # nothing is measured here
    path = write(tmp_path, map(row, templates[:8]))
    few = {"num_random": 4, "known_networks": False, "generations": 0, "epochs": 1, "final_epochs": 1, "conv_num": 2}
    settings = {"objectives": ("accuracy", "latency"), "latencies": path, "batch_size": 24, "verbose": False}
    result = jnas.search(small_arrays(), **few, **settings)
    trained = {candidate.template.hash: candidate.template for candidate in result.candidates}
    assert len(result.front) and len(trained) == 4
    for member in result.front.itertuples():
        assert member.latency_ms == pytest.approx(milliseconds(trained[member.hash]), rel=1e-3)
    assert not len(result.store.sql("SELECT * FROM latencies"))
