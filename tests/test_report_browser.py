"""The page of a search in a real browser, a headless Chromium of the system."""

import json
import os
import re
from pathlib import Path

import pytest
from conftest import exhaustive

pytest.importorskip("websocket", reason="needs websocket-client, of the extra test")
import browser
from report_stores import EXPERIMENT, add_experiment, add_rows, finish, make_rows, make_store

import jnas
from jnas.report import LiveReport, write_report
from jnas.report._html.winner_facts import facts_path
from jnas.store import paths

pytestmark = pytest.mark.skipif(browser.PATH is None, reason="needs Chromium: apt-get install chromium")
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
MARKUP = "<img src=x onerror=alert(1)>"
SHOTS = os.environ.get("JNAS_SCREENSHOTS")
"""A folder, where pictures of the pages are to be kept for people to look at."""


def add_facts(store):
    """What `winner_facts` writes, with a class name that has markup in it."""
    experiment = store.experiments_df().iloc[0]
    final = store.sql("SELECT recipe_id FROM evaluations WHERE test_acc_final IS NOT NULL").recipe_id[0]
    weights = paths.winner_dir(paths.checkpoint_dir(store.path, EXPERIMENT), final, experiment.winner_hash)
    weights.parent.mkdir(parents=True, exist_ok=True)
    mistakes = [{"label": 0, "predicted": 1, "confidence": 0.98, "image": PIXEL}] * 24
    facts = {
        **{"split": "test", "num_images": 100, "class_names": [MARKUP, "dog"], "num_per_class": [50, 50]},
        **{"num_predicted": [30, 70], "num_right": [28, 48], "matrix": [[28, 22], [2, 48]]},
        **{"pairs": [[0, 1, 22], [1, 0, 2]], "mistakes": mistakes},
    }
    facts_path(weights).write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A finished report of 500 rows, open."""
    folder = tmp_path_factory.mktemp("browser")
    store = make_store(folder / "a.duckdb", 500)
    add_facts(store)
    with browser.Browser() as page:
        page.path = write_report(store)
        page.open(page.path)
        yield page


def draw_all(page):
    """Draws the figures that are not near the window, too, as for printing."""
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    page.wait(lambda: page.run("document.querySelectorAll('.js-plotly-plot').length") >= 10)


def place_of(page, chart, trace, point):
    """The pixel of a point of a figure in the window."""
    page.run(f"document.getElementById('{chart}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
    page.wait(lambda: page.run(f"!!document.getElementById('{chart}')._fullLayout"))
    return page.run(
        f"(div => {{const box = div.getBoundingClientRect(), l = div._fullLayout, t = div._fullData[{trace}]; "
        f"return [box.x + l._size.l + l.xaxis.d2p(t.x[{point}]), box.y + l._size.t + l.yaxis.d2p(t.y[{point}])]}})"
        f"(document.getElementById('{chart}'))"
    )


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)")


def test_page_is_whole_and_asks_for_nothing_else(page):
    draw_all(page)
    hidden = page.run(
        "[...document.querySelectorAll('section')].filter(s => s.hidden || !s.textContent).map(s => s.id)"
    )
    assert hidden == [] and len(texts(page, "section")) == 13
    assert all(len(text) > 40 for text in texts(page, ".says")) and len(texts(page, ".says")) == 12
    assert {name for name in page.requests if not name.startswith("data:")} == {page.path.as_uri()}
    assert page.errors == [] and Path(page.path).stat().st_size < 8_000_000
    assert page.run("document.documentElement.scrollWidth") == 1280


def test_pointing_at_a_network_shows_its_drawing(page):
    known = page.run("document.querySelector('#front-card').dataset.hash")
    find = "document.getElementById('front-chart')._fullData.findIndex(t => t.name === 'known networks')"
    x, y = place_of(page, "front-chart", page.run(find), 0)
    page.move(x + 1, y + 1)
    page.wait(lambda: page.run("document.querySelector('#front-card').dataset.hash") != known)
    shown = page.run("document.querySelector('#front-card').dataset.hash")
    data = json.loads(re.search(r"window\.jnasData = (.*?);</script>", page.path.read_text())[1])
    blocks = data["searches"][0]["blocks"][shown]
    assert page.run("document.querySelectorAll('#front-card svg g').length") == len(blocks)
    assert "Network under the pointer" in texts(page, "#front-card h3")
    ring = page.run(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('.ring').getBoundingClientRect())"
    )
    assert ring == pytest.approx([x, y], abs=2)
    # Without a pointer, buttons go along the front.
    read = "Number(document.querySelectorAll('#front-card dd')[2].textContent.replaceAll(',', ''))"
    costs = [page.run(read)]
    for _ in range(3):
        page.run("document.querySelector('#front-card .tools button').click()")
        costs.append(page.run(read))
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 4


def test_rows_are_sorted_filtered_and_copied(page):
    column = "[...document.querySelectorAll('#rows tbody tr')].map(r => r.children[%d].textContent)"
    best = page.run(column % 1)
    numbers = [float(text.removesuffix("\u00a0%")) for text in best]
    assert len(best) == 25 and numbers == sorted(numbers, reverse=True)
    page.run("document.querySelector('#rows [data-column=params]').click()")
    place = page.run("[...document.querySelectorAll('#rows th button')].findIndex(b => b.dataset.column === 'params')")
    params = [int(text.replace(",", "")) for text in page.run(column % place)]
    assert params == sorted(params, reverse=True)
    page.run("document.querySelector('#rows [data-column=params]').click()")
    params = [int(text.replace(",", "")) for text in page.run(column % place)]
    assert params == sorted(params)
    page.run("(i => {i.value = 'timeout'; i.dispatchEvent(new Event('input'))})(document.querySelector('#rows input'))")
    assert (
        set(texts(page, "#rows tbody .badge")) == {"timeout"} and "that match, of 500" in texts(page, "#rows .grow")[0]
    )
    page.run("(i => {i.value = ''; i.dispatchEvent(new Event('input'))})(document.querySelector('#rows input'))")
    page.run("document.querySelector('#more').click()")
    assert len(texts(page, "#rows tbody tr")) == 500
    copied = page.run("(b => {b.click(); return b.title})(document.querySelector('#rows tbody button'))")
    assert copied.startswith("Copy ")
    page.wait(lambda: "copied" in texts(page, "#rows tbody button")[0])


def test_markup_of_class_names_and_messages_is_text(page):
    assert page.run("document.querySelectorAll('main img:not([src^=\"data:image/png\"])').length") == 0
    assert page.run("document.querySelectorAll('.images img').length") == 24
    assert MARKUP in texts(page, ".images b") and any("<b>markup</b>" in text for text in texts(page, "#failures td"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (1280, False),
        (390, True),
        *exhaustive((390, False), (1280, True)),
    ],
)
def test_page_fits_the_window(page, width, dark, tmp_path):
    page.resize(width, 900, dark)
    page.open(page.path)
    draw_all(page)
    assert page.run("document.documentElement.scrollWidth") == width
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(17, 21, 26)" if dark else "rgb(245, 246, 248)")
    shot = Path(SHOTS or tmp_path, f"report-{width}-{'dark' if dark else 'light'}.png")
    page.screenshot(shot)
    assert shot.read_bytes().startswith(b"\x89PNG") and shot.stat().st_size > 100_000 and page.errors == []


@pytest.mark.slow
def test_live_page_gains_points_by_itself(tmp_path):
    store, rows = jnas.Store(tmp_path / "a.duckdb"), make_rows(12)
    add_experiment(store)
    report = LiveReport(store, EXPERIMENT, tmp_path / "jnas-report")
    points = "(d => d && d.data ? d.data.filter(t => t.mode === 'markers').reduce((n, t) => n + t.x.length, 0) : 0)"
    points += "(document.getElementById('progress-chart'))"
    with browser.Browser() as page:
        page.open(report.path)
        assert "No network has been trained yet" in page.run("document.querySelector('.lead').textContent")
        good = rows[rows.status == "ok"]
        add_rows(store, rows[:5])
        assert report.update("compiling", seconds_left=120, force=True)
        page.wait(lambda: page.run(points) == 5)
        page.wait(lambda: page.run("document.getElementById('state').textContent").endswith("left"))
        page.run("window.mark = 'the same page'")
        add_rows(store, rows[5:])
        assert report.update(force=True)
        page.wait(lambda: page.run(points) == len(good))
        finish(store, rows)
        assert report.finish() == report.path
        page.wait(lambda: page.run("document.getElementById('state').textContent") == "finished")
        assert page.run("window.mark") == "the same page" and page.errors == []
        folder = report.folder.as_uri()
        assert all(url.startswith((folder, "data:", "blob:")) for url in page.requests), page.requests
        page.open(report.path)  # complete without the files beside it
        assert page.run(points) >= 0 and page.errors == []


@pytest.mark.exhaustive
def test_several_searches_and_left_out_rows(tmp_path):
    store = make_store(tmp_path / "a.duckdb", 1500)
    make_store(store.path, 8, seed=1, experiment="fedcba987654", finished=False)
    with browser.Browser() as page:
        page.open(write_report(store, experiments=[EXPERIMENT, "fedcba987654"]))
        assert len(texts(page, "#overview thead th")) == 3 and "are left out" in texts(page, ".left-out")[0]
        page.run("[...document.querySelectorAll('#overview .switch button')].at(-1).click()")
        page.wait(lambda: "of 8 rows" in texts(page, "#rows .grow")[0])
        lines = "(document.getElementById('progress-chart').data || []).filter(t => t.showlegend !== false).length"
        page.wait(lambda: page.run(lines) == 2)
        assert page.errors == []


@pytest.mark.slow
def test_picture_of_parts_of_a_page(tmp_path):
    from PIL import Image
    from report_picture import take_picture

    store = make_store(tmp_path / "a.duckdb", 20)
    with Image.open(take_picture(store.path, tmp_path / "a.png", ["progress", "front"], width=900)) as picture:
        assert picture.width == 900 and 900 < picture.height < 1400 and len(picture.getcolors(1 << 20)) > 100
