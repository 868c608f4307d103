"""The plan, and the pages that are made of its figures."""

import argparse
import json
import pathlib

import claims
import plan
import pytest
import render
import run_all

import jnas


def test_pages_are_up_to_date_and_short():
    for path, text in render.pages().items():
        assert path.read_text() == text, f"{path.name}: run 'python benchmarks/render.py'"
        assert path.parent.name != "topics" or text.count("\n") <= render.MOST_LINES


def test_plan_every_benchmark_has_a_script_a_page_and_a_renderer():
    names = [benchmark.name for benchmark in plan.BENCHMARKS]
    assert len(set(names)) == len(names) and set(names) == set(claims.RENDERERS)
    for benchmark in plan.BENCHMARKS:
        assert (render.FOLDER / f"{benchmark.script}.py").exists()
        prose = (render.FOLDER / "prose" / f"{benchmark.topic}.md").read_text()
        assert f"{{{{{benchmark.name}}}}}" in prose or (
            benchmark.name in claims.PREDICTORS and "{{predictors}}" in prose
        )
        assert benchmark.command.startswith(f"python benchmarks/{benchmark.script}.py")


RATIO = {"n": 2, "mean": 1.5, "lowest": 1.0, "highest": 2.0}


def test_render_puts_figures_on_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    versions = {"jax": "1.0", "flax": "2.0"}
    result = {"command": "python benchmarks/steps.py", "device": "a CPU", "cores": 2, "versions": versions}
    result |= {"commit": "abc", "date": "2030-01-01", "figures": {"ratio_torch": {"all": RATIO}}}
    (tmp_path / "steps.json").write_text(json.dumps(result))
    page = render.pages()[render.FOLDER / "README.md"]
    assert "| 1.50 (1.00 to 2.00) | 2 templates | a CPU, 2 cores | `python benchmarks/steps.py` | abc |" in page
    assert "| Training step against PyTorch | CPU |" not in page and "| Memory in two hours | CPU |" in page
    training = render.topic("training", {one.name: render.load(one) for one in plan.BENCHMARKS})
    assert "| all | 2 | 1.50 (1.00 to 2.00) |" in training and "commit abc, 2030-01-01" in training


def test_predictors_table_has_a_row_a_table():
    row = {"r2": 0.6, "r2_std": 0.1, "tau": 0.5, "tau_std": 0.1, "r2_runs": [0.6], "coverage_1std": 0.7}
    figures = {"models": {"jnas": row, "ridge": row}}
    text = claims.predictors_table({"predictor_sophius": figures, "predictor_macro": figures})
    assert text.count("\n") == 3 and "**0.600 ± 0.100, 0.500 ± 0.100** | 0.600, 0.500 |" in text


def options_of(folder, **changes):
    defaults = {"inputs": [folder], "device": "cpu", "only": [], "skip": [], "again": False}
    return argparse.Namespace(**defaults | changes)


def test_run_all_skips_present_figures_and_missing_inputs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    monkeypatch.setattr(run_all, "commit", lambda: "abc")
    (tmp_path / "candidates.json").write_text('{"commit": "abc", "seconds": 7}')
    (tmp_path / "sophius_runs.csv").write_text("hash\n")
    inputs = run_all.find_inputs([pathlib.Path("elsewhere"), tmp_path])
    assert list(inputs) == ["sophius"]
    names = [benchmark.name for benchmark in run_all.plan(options_of(tmp_path), inputs)]
    assert "candidates" not in names and "evolve" not in names and {"steps", "soak"} <= set(names)
    assert "evolve: left out, as nas_bench_macro.csv" in capsys.readouterr().out
    only = options_of(tmp_path, only=["candidates"], again=True)
    assert [run_all.estimate(benchmark) for benchmark in run_all.plan(only, inputs)] == [7]
    with pytest.raises(jnas.JnasError, match="no benchmark nothing"):
        run_all.plan(options_of(tmp_path, only=["nothing"]), inputs)


def test_run_all_keeps_figures_of_a_run_that_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "RESULTS", tmp_path)
    benchmark = plan.Benchmark("broken", "Broken", "performance", "training", "jitter", "--table {macro}", 1)
    benchmark.path.write_text("{}")
    assert not run_all.execute(benchmark, {"macro": tmp_path / "missing.csv"}, None)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.json"]
