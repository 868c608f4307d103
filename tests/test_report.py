"""Tables and pictures of results."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from jnas.errors import JnasError
from jnas.report import (
    finalist_table,
    format_count,
    front_table,
    layer_summary,
    leaderboard,
    mean_std,
    plot_front,
    plot_predictions,
    plot_search,
)
from jnas.space import Template
from jnas.space._layers import Conv2d, Flatten, Linear, PReLU
from jnas.store import Evaluation, Key

HASHES = [f"{i:08x}" * 4 for i in range(6)]
ROWS = pd.DataFrame(
    {
        "phase": ["random", "random", "known", "evolved", "evolved", "evolved"],
        "hash": HASHES,
        "status": ["ok", "diverged", "ok", "ok", "ok", "ok"],
        "val_acc_final": [0.4, np.nan, 0.5, 0.55, 0.6, 0.45],
        "predicted_mean": [np.nan, np.nan, np.nan, 0.5, 0.55, 0.5],
        "params": [1000, 2000, 3000, 2500, 2000, 900],
        "macs": [10_000, 20_000, 30_000, 25_000, 20_000, 9_000],
    }
)
FRONT = ROWS.iloc[[4, 5]].assign(memory_bytes=20 * 1024, flash_bytes=1024, latency_ms=[None, None])


def text_of(table) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    return out.getvalue()


def evaluation(hash, accuracy, seed=0, **changes):
    key = Key(hash, "3x32x32", 10, "recipe", "data", 0, seed)
    return Evaluation(key, val_acc_final=accuracy, params=12_345, macs=1_650_000, train_seconds=1.25, **changes)


def test_format_count_three_digits():
    numbers = (0, 999, 1000, 12_345, 123_456, 1_650_000, 2_500_000_000)
    assert [format_count(number) for number in numbers] == ["0", "999", "1.00k", "12.3k", "123k", "1.65M", "2.50G"]
    assert format_count(None) == "-" and format_count(np.int64(12_345)) == "12.3k"


def test_mean_std_one_or_several_values():
    assert mean_std([0.5]) == "0.5000" and mean_std([0.5, 0.6]) == "0.5500 ± 0.0707"


def test_leaderboard_shows_phase_and_short_hash():
    text = text_of(leaderboard([("random", evaluation(HASHES[1], 0.51234))], 800))
    assert "(800 images, one" in text
    cells = ["1", "0.5123", "12.3k", "1.65M", "1.2", "5", "random", HASHES[1][:16] + "…"]
    assert text.splitlines()[-2].split() == cells


def test_finalist_table_shows_mean_or_failure():
    failed = evaluation(HASHES[1], None, status="error")
    finals = [evaluation(HASHES[0], 0.6), evaluation(HASHES[0], 0.7, seed=1)]
    lines = text_of(finalist_table([(evaluation(HASHES[0], 0.5), finals), (evaluation(HASHES[1], 0.4), [failed])], 800))
    assert "0.5000   0.6500 ± 0.0707" in lines and "0.4000            failed       0" in lines


def test_front_table_has_the_costs_of_the_objectives():
    assert text_of(front_table(FRONT, ["accuracy", "params"])).splitlines()[-2].split()[:4] == [
        *("0.4500", "900", "9.00k", f"{HASHES[5][:16]}…")
    ]
    shown = text_of(front_table(FRONT, ["accuracy", "flash"]))
    assert "flash, KB" in shown and "memory" not in shown and "latency" not in shown


def test_front_table_latency_is_optional():
    assert text_of(front_table(FRONT)).splitlines()[-2].split()[:6] == ["0.4500", "900", "9.00k", "20", "1", "-"]
    measured = FRONT.assign(latency_ms=[0.5, np.nan])
    assert [line.split()[5] for line in text_of(front_table(measured)).splitlines()[-3:-1]] == ["0.50", "-"]


def test_layer_summary_has_a_row_per_layer():
    template = Template([Conv2d(8, 5, 3, False), PReLU(), Flatten(), Linear(10)], (3, 32, 32))
    lines = [line.split() for line in text_of(layer_summary(template)).splitlines()]
    assert [" ".join(line) for line in lines] == [" ".join(line.split()) for line in str(template).splitlines()]


def test_plot_search_writes_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_search(ROWS, tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["random", "known", "evolved", "best so far"] and len(figure.axes) == 3
    assert len(plot_search(ROWS.assign(predicted_mean=np.nan)).axes) == 2
    with pytest.raises(JnasError, match="rows must have a template of status ok, got none"):
        plot_search(ROWS.iloc[:0])


def test_plot_front_writes_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    plot_front(ROWS, FRONT, tmp_path / "front.png", cost="params")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(JnasError, match="front must have values of latency_ms, got none"):
        plot_front(ROWS, FRONT, cost="latency_ms")
    names = "macs, params, memory_bytes, flash_bytes, latency_ms"
    with pytest.raises(JnasError, match=f"cost must be one of {names}, got 'flops'"):
        plot_front(ROWS, FRONT, cost="flops")


def test_plot_predictions_writes_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    generator = np.random.default_rng(0)
    measured = generator.uniform(size=50)
    plot_predictions(measured, measured + 0.1 * generator.normal(size=50), np.full(50, 0.1), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000
    with pytest.raises(JnasError, match="must be vectors of one length"):
        plot_predictions(measured, measured[:3], measured)
