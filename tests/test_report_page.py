"""The page of a search, without a browser: what it has, how large it is, and what is refused."""

import json
import logging
import re
import time

import numpy as np
import pandas as pd
import pytest
from conftest import small_arrays
from flax import nnx
from report_stores import EXPERIMENT, NUM_VAL, add_experiment, add_rows, finish, make_rows, make_store

import jnas
from jnas._cli import main
from jnas.errors import JnasError
from jnas.report import LiveReport, winner_facts, write_facts, write_report
from jnas.report._html import live
from jnas.report._html.features import FEATURES, explain, template_features
from jnas.report._html.json_script import to_json
from jnas.report._html.page import plotly_script
from jnas.report._html.search_data import SearchPage
from jnas.report._html.statistics import front, improvements, select_rows, standard_error
from jnas.report._html.winner_facts import facts_path, read_facts
from jnas.space import Candidate, Template, draw_template, template_blocks
from jnas.store import paths

CHAIN = Template.from_hash("008204222000000001000000")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("page") / "a.duckdb", 60)


@pytest.fixture(scope="module")
def data(store):
    return json.loads(to_json(SearchPage(store, EXPERIMENT).read()))


def test_drawing_has_a_block_for_each_layer_that_changes_the_shape():
    blocks = template_blocks(CHAIN)
    assert [block.name for block in blocks] == ["image", "conv 3\N{MULTIPLICATION SIGN}3", "linear"]
    assert [block.shape for block in blocks] == [(3, 32, 32), (32, 32, 32), (10,)]
    assert blocks[1].followers == ("ReLU", "Flatten")
    assert sum(block.params for block in blocks) == CHAIN.cost.params
    assert sum(block.macs for block in blocks) == CHAIN.cost.macs
    svg = draw_template(CHAIN)
    assert svg == CHAIN._repr_svg_() == Candidate.from_template(CHAIN, jnas.Space())._repr_svg_()
    assert svg.count("<title>") == 3 and "73 %" in svg


def test_noise_of_an_accuracy():
    assert standard_error(0.5, 100) == 0.05 and standard_error(None, 100) is None and standard_error(0.5, None) is None


def test_best_so_far_and_front():
    accuracies, costs = np.array([0.3, np.nan, 0.2, 0.5, 0.5]), np.array([4.0, 1, 1, 9, 8])
    assert improvements(accuracies).tolist() == [0, 3]
    assert front(accuracies, costs).tolist() == [2, 0, 4]  # 3 costs more than 4, and is not better


def test_rows_that_are_shown_have_the_best_the_fronts_and_the_known():
    rows = make_rows(3000, num_templates=20).assign(latency_ms=np.nan)
    kept = rows.hash[2500]
    shown = rows[select_rows(rows, 700, {kept})]
    good = rows.val_acc_final.to_numpy()
    assert 600 < len(shown) < 800 and kept in set(shown.hash) and (shown.phase == "known").sum() == 4
    for needed in (improvements(good), front(good, rows.macs.to_numpy(float)), np.argsort(-np.nan_to_num(good))[:100]):
        assert set(needed) <= set(shown.index)
    assert np.diff(shown.index).max() < 40 and select_rows(rows[:9], 700, set()).all()


def test_features_and_what_they_explain():
    values = dict(zip(FEATURES, template_features(CHAIN), strict=True))
    assert values == {
        **{"convolutions": 1, "most channels": 32, "mean kernel": 3, "total stride": 1, "receptive field": 3 / 32},
        **{"batch norms": 0, "global pooling": 0, "dropout": 0, "parameters": 328_586, "MACs": 1_212_416},
    }
    generator = np.random.default_rng(0)
    table = generator.uniform(1, 5, (200, len(FEATURES)))
    told = explain(table, 0.5 + 0.05 * (table[:, 2] - 3) ** 2 + generator.normal(0, 0.002, 200))
    assert told["r2"] > 0.95 and np.argmax(told["importances"]) == 2
    places, heights = told["curves"][2]
    assert places[0] < 1.2 and places[-1] > 4.8 and heights[0] - heights.min() == pytest.approx(0.2, abs=0.03)
    assert explain(table, generator.normal(size=200))["curves"] == []  # nothing is there to be found
    assert explain(table[:10], np.ones(10)) is None


def test_page_says_what_the_store_has(store, data):
    rows = store.experiment_df(EXPERIMENT)
    good = rows[rows.status == "ok"]
    assert data["counts"] == {
        **{"trained": 60, "shown": 60, "by_status": rows.status.value_counts().to_dict()},
        **{"by_phase": {"known": 4, "evolved": 56}},
    }
    assert data["num_val"] == NUM_VAL and data["rows"]["hash"] == rows.hash.to_list()
    best, known = good.val_acc_final.max(), good[good.phase == "known"].val_acc_final.max()
    assert data["summary"]["best"]["val_acc_final"] == best == data["steps"]["accuracies"][-1]
    assert data["summary"]["known"]["val_acc_final"] == known and data["summary"]["known"]["chain"].startswith("conv")
    winner = data["summary"]["winner"]
    assert winner["is_chosen"] and winner["finals"][0]["test_acc_final"] == 0.731 and winner["final_epochs"] == 24
    assert set(data["blocks"]) == set(rows.hash) and all(b[0] == ["i", 32, 3] for b in data["blocks"].values())
    assert len(data["curves"]["finals"][0]["val"]) == 24 and len(data["curves"]["search"]) == len(good)
    assert sum(reason["count"] for reason in data["failures"]) == 60 - len(good)
    assert data["predictions"]["count"] == good.predicted_mean.notna().sum()
    assert data["made"]["command"].startswith("jnas search --data excerpt") and data["made"]["devices"] == [
        "2 CPU cores"
    ]


def test_seconds_are_the_columns_where_they_have_a_value(tmp_path):
    store = make_store(tmp_path / "a.duckdb", 5)
    rows = store.experiment_df(EXPERIMENT)
    elapsed = [round((at - pd.Timestamp("2026-01-02 03:04:05")).total_seconds(), 2) for at in rows.finished_at]
    data = SearchPage(store, EXPERIMENT).read()
    assert data["rows"]["seconds"] == elapsed and data["seconds"] is None
    with store._write() as connection:
        connection.execute("UPDATE candidates SET seconds = position + 0.5 WHERE position < 2 AND phase = 'known'")
        connection.execute("UPDATE experiments SET seconds = 99")
    data = SearchPage(store, EXPERIMENT).read()
    assert data["rows"]["seconds"] == [0.5, 1.5, *elapsed[2:]] and data["seconds"] == 99


def test_report_is_one_small_file_that_asks_for_nothing(store, tmp_path, capsys):
    target = tmp_path / "r.html"
    assert main(["report", str(store.path), "-o", str(target)]) == 0 and "Wrote" in capsys.readouterr().out
    text = target.read_text()
    own = text.replace(plotly_script(), "")
    assert len(own) < len(text) - 4_000_000 and len(text) < 8_000_000
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', own) and "connect-src 'none'" in own
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", own)
    assert "<b>markup</b>" not in own and "\\u003cb\\u003emarkup" in own
    write_report(store, target)  # its own page may be replaced


def test_several_searches_share_a_page(store, tmp_path):
    make_store(store.path, 8, seed=1, experiment="fedcba987654", finished=False)
    path = write_report(store, tmp_path / "two.html", experiments=["0123", "fedc", "0123456789ab"])
    data = json.loads(re.search(r"window\.jnasData = (.*?);</script>", path.read_text())[1])
    assert [search["id"] for search in data["searches"]] == [EXPERIMENT, "fedcba987654"]
    assert not data["searches"][1]["summary"]["winner"]["is_chosen"]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_search_that_has_just_begun(tmp_path, count):
    store = jnas.Store(tmp_path / "a.duckdb")
    add_experiment(store, config_json={}, versions=None, git_commit=None)
    if count:
        add_rows(store, make_rows(count))
    data = json.loads(to_json(SearchPage(store, EXPERIMENT).read()))
    assert data["counts"]["trained"] == count == len(data["rows"]["hash"]) and data["facts"] is None
    assert write_report(store) == tmp_path / "a-report" / "index.html"


def test_search_of_failures_only(tmp_path):
    store = jnas.Store(tmp_path / "a.duckdb")
    add_experiment(store)
    add_rows(store, make_rows(5).assign(status="error", message="</script><script>alert(1)", val_acc_final=np.nan))
    path = write_report(store)
    assert "</script><script>alert" not in path.read_text()


@pytest.mark.slow
def test_hundred_thousand_rows_are_left_out_but_counted(tmp_path):
    store = make_store(tmp_path / "a.duckdb", 100_000)
    rows = store.sql("SELECT count(*) AS n, max(val_acc_final) AS best FROM evaluations WHERE recipe_id LIKE '7ec1%'")
    path = write_report(store)
    data = json.loads(re.search(r"window\.jnasData = (.*?);</script>", path.read_text())[1])["searches"][0]
    assert data["counts"]["trained"] == rows.n[0] > 99_000 and 900 < data["counts"]["shown"] < 1300
    assert data["summary"]["best"]["val_acc_final"] == rows.best[0] and path.stat().st_size < 8_000_000


def test_live_page_is_written_by_the_search(tmp_path, monkeypatch, caplog):
    store, folder = jnas.Store(tmp_path / "a.duckdb"), tmp_path / "jnas-report"
    rows = make_rows(12)
    add_experiment(store)
    report = LiveReport(store, EXPERIMENT, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["data.js", "index.html", "plotly.min.js"]
    assert (folder / "index.html").stat().st_size < 200_000

    def live_data():
        return json.loads(re.fullmatch(r"window\.jnasUpdate\((.*)\);\n", (folder / "data.js").read_text())[1])

    add_rows(store, rows[:6])
    assert report.update("compiling", seconds_left=100.0)
    assert live_data()["searches"][0]["counts"]["trained"] == 6 and live_data()["is_live"]
    assert live_data()["note"] == "compiling" and live_data()["seconds_left"] == 100
    add_rows(store, rows[6:])
    assert not report.update() and live_data()["searches"][0]["counts"]["trained"] == 6  # so soon
    assert report.update(force=True) and live_data()["searches"][0]["counts"]["trained"] == 12
    # A process that is killed leaves the page as it is; the next one writes it anew, and completes it.
    report = LiveReport(store, EXPERIMENT, folder)
    finish(store, rows)
    assert report.finish() == folder / "index.html" and not live_data()["is_live"]
    assert (folder / "index.html").stat().st_size > 4_000_000 and not (folder / "plotly.min.js").exists()

    def fail(*_):
        raise JnasError("no space left")

    monkeypatch.setattr(live, "write_file", fail)
    with caplog.at_level(logging.WARNING, "jnas"):
        assert not report.update(force=True) and report.finish() is None
    assert caplog.text.count("no space left") == 2


def test_live_page_takes_a_hundredth_of_the_time(store, tmp_path, monkeypatch):
    report = LiveReport(store, EXPERIMENT, tmp_path / "r")
    start = time.monotonic()
    assert report.update(force=True)
    took = time.monotonic() - start
    assert report._next >= start + max(2.0, 90 * took)


def test_live_page_refuses_what_it_cannot_write(store, tmp_path):
    (tmp_path / "index.html").write_text("<html>mine</html>")
    with pytest.raises(JnasError, match=r"index.html is not a report of jnas: name another folder"):
        LiveReport(store, EXPERIMENT, tmp_path)
    with pytest.raises(JnasError, match="cannot be made"):
        LiveReport(store, EXPERIMENT, tmp_path / "no" / "where")
    with pytest.raises(JnasError, match="experiment must be a search in"):
        LiveReport(store, "ffff", tmp_path / "r")


def test_winner_facts_are_kept_beside_the_weights(store, tmp_path):
    arrays = small_arrays()
    dataset = jnas.Dataset("stripes", **arrays, class_names=("one", "<b>two</b>", "three"))
    space = jnas.Space(dataset.in_shape, dataset.classes, conv_num=1, lin_num=1)
    module = space.random(0).build(nnx.Rngs(0))
    module.eval()
    recipe = jnas.Recipe.fast(epochs=1)
    experiment = store.experiments_df().iloc[0]
    final = store.sql("SELECT recipe_id FROM evaluations WHERE test_acc_final IS NOT NULL").recipe_id[0]
    weights = paths.winner_dir(paths.checkpoint_dir(store.path, EXPERIMENT), final, experiment.winner_hash)
    weights.mkdir(parents=True)
    images = {"images": dataset.x_test, "labels": dataset.y_test, "views": recipe.views, "split": "test"}
    write_facts(winner_facts(module, **images, class_names=dataset.class_names), weights)
    path = facts_path(weights)
    facts = read_facts(path)
    from jnas.train import predict

    predicted = predict(module, dataset.x_test, recipe.views)
    matrix = np.array(facts["matrix"])
    assert matrix.sum() == 24 == facts["num_images"] and facts["split"] == "test"
    assert np.trace(matrix) == (predicted == dataset.y_test).sum() == sum(facts["num_right"])
    assert matrix.sum(0).tolist() == facts["num_predicted"] and matrix.sum(1).tolist() == facts["num_per_class"]
    wrong = [(one["label"], one["predicted"]) for one in facts["mistakes"]]
    assert len(wrong) == min(24, (predicted != dataset.y_test).sum()) and all(a != b for a, b in wrong)
    assert sorted(facts["pairs"], key=lambda pair: -pair[2]) == facts["pairs"]
    confidences = [one["confidence"] for one in facts["mistakes"]]
    assert confidences == sorted(confidences, reverse=True)
    page = to_json(SearchPage(store, EXPERIMENT).read())
    assert json.loads(page)["facts"]["class_names"][1] == "<b>two</b>" and "<b>" not in page
    path.write_text("{")
    assert read_facts(path) is None


def test_rows_that_somebody_edited_are_shown_as_they_are(tmp_path):
    store = make_store(tmp_path / "a.duckdb", 40, finished=False)
    hash = store.experiment_df(EXPERIMENT).hash[1]
    with store._write() as connection:
        connection.execute("UPDATE evaluations SET val_acc_final = NULL")
        for table in ("candidates", "evaluations", "architectures"):
            connection.execute(f"UPDATE {table} SET hash = 'x' WHERE hash = ?", [hash])
    data = json.loads(to_json(SearchPage(store, EXPERIMENT).read()))
    assert data["summary"]["best"] is None and data["counts"]["trained"] == 40 and "x" in data["rows"]["hash"]
    assert "x" not in data["blocks"] and data["features"]["explained"] is None


def test_the_page_of_a_search_that_ends_with_an_error_is_complete(tmp_path, fake_trainer, capsys):
    settings = {"num_random": 2, "known_networks": False, "generations": 0, "epochs": 1, "batch_size": 24}
    with pytest.raises(JnasError, match="None of the 2 templates could be trained"):
        jnas.search(small_arrays(), out=tmp_path, verbose=False, learning_rate=1e30, **settings)
    page = tmp_path / "jnas-report" / "index.html"
    data = json.loads(re.search(r"window\.jnasData = (.*?);</script>", page.read_text())[1])
    assert not data["is_live"] and data["searches"][0]["failures"][0]["count"] == 2
    assert not page.with_name("plotly.min.js").exists()
    assert main(["store", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "2 evaluations (2 diverged), 1 search." in shown and "diverged, 2 times: the loss" in shown
