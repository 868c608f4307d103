"""Which templates share a program: the objective, its limits, what is remembered; and populations in envelopes."""

import dataclasses
import io
import json

import numpy as np
import pytest
from conftest import small_arrays
from rich.console import Console

import jnas
from jnas._runtime.compilation_cache import folder
from jnas.errors import JnasError
from jnas.nn.envelope import Envelope, envelope_of, place
from jnas.space import Space, Template
from jnas.space import _layers as lt
from jnas.store import Store
from jnas.train import Recipe, Watch, calibration, codebook, successive_halving
from jnas.train import _evaluate as evaluate
from jnas.train._engine import progress
from jnas.train._engine.bucketing import MOST_PADDING, Workload, assign
from jnas.train._engine.memory_plan import Device, cpu, gpu, kept

SPACE = Space((3, 8, 8), 3, conv_num=3, lin_num=2)
TEMPLATES = [SPACE.random(seed) for seed in range(40)]
RECIPE = Recipe(epochs=2, batch_size=24, validation=0.25, optimizer="sgd", learning_rate=1e-2)
ODD = Template([lt.Conv2d(8), lt.Dropout2d(0.5), lt.Flatten(), lt.Linear(3)], (3, 8, 8))  # fits no envelope


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data():
    return jnas.load_data(small_arrays())


def padding(groups, templates):
    padded = sum(group.structure.footprint.macs * len(group.members) for group in groups)
    return padded / sum(template.cost.macs for template in templates)


@pytest.mark.parametrize("policy", ["exact", "folded", "envelope", "auto"])
def test_every_template_gets_one_program_that_takes_it(policy):
    templates = [*TEMPLATES, ODD, TEMPLATES[0], SPACE.random(99)]
    for load in (Workload(24, 10, gpu()), Workload(24, 0, cpu(cores=2))):
        groups = assign(templates, policy, load)
        assert sorted(i for group in groups for i in group.members) == list(range(len(templates)))
        for group in groups:
            for i in group.members:
                group.structure.lane(templates[i])  # raises where it does not fit
        assert [group.members[0] for group in groups] == sorted(group.members[0] for group in groups)


def test_seconds_decide_what_is_merged():
    """Dear compiling merges, dear training does not, and `auto` is never dearer than the others."""
    cheap, dear = Workload(24, 10, gpu()), Workload(24, 100_000, cpu(cores=1))
    few, many = (assign(TEMPLATES, "envelope", load) for load in (cheap, dear))
    assert len(few) < len(many)
    for load in (cheap, dear):
        seconds = {
            policy: sum(group.seconds for group in assign(TEMPLATES, policy, load))
            for policy in ("exact", "folded", "envelope", "auto")
        }
        assert seconds["auto"] <= 1.001 * min(seconds.values())
    assert {group.structure.policy for group in assign(TEMPLATES, "auto", dear)} <= {"exact", "folded"}


@pytest.mark.parametrize("most", [1.5, 3.0])
def test_padding_stays_under_its_limit(most):
    groups = assign(TEMPLATES, "envelope", Workload(24, 0, gpu()), most_padding=most)
    alone = [envelope_of(template) for template in TEMPLATES]
    unmerged = assign(TEMPLATES, "envelope", Workload(24, 0, gpu()), most_padding=0)
    assert len(unmerged) == len(set(alone))
    assert padding(groups, TEMPLATES) <= max(most, padding(unmerged, TEMPLATES))


def test_what_is_too_large_for_an_envelope_is_not_merged():
    small = dataclasses.replace(gpu(), memory=4 << 20)
    for policy in ("envelope", "auto"):
        for group in assign(TEMPLATES, policy, Workload(24, 10, small)):
            assert group.structure.policy != "envelope" or np.isfinite(group.seconds)


def test_templates_for_other_images_keep_apart():
    other = Space((3, 12, 12), 3, conv_num=2).random(0)
    groups = assign([*TEMPLATES[:5], other], "envelope", Workload(24, 0, gpu()))
    assert any(group.members == (5,) for group in groups)


def test_an_envelope_that_was_compiled_is_taken_again():
    load = Workload(24, 10, gpu())
    known = [(group.structure.hull, group.width) for group in assign(TEMPLATES, "envelope", load)]
    again = assign(TEMPLATES, "envelope", load, known=known)
    free = [group for group in again if group.compile_seconds == 0]
    assert free and all((group.structure.hull, group.width) in known for group in free)
    assert sum(group.compile_seconds for group in again) < sum(
        group.compile_seconds for group in assign(TEMPLATES, "envelope", load)
    )
    assert padding(again, TEMPLATES) <= MOST_PADDING


def test_envelopes_are_remembered_for_this_device():
    assert codebook.load() == []
    envelopes = [envelope_of(template) for template in TEMPLATES[:3]]
    for envelope in [*envelopes, envelopes[0]]:
        codebook.add(envelope, 4)
    assert set(codebook.load()) == {(envelope, 4) for envelope in envelopes}
    assert isinstance(codebook.load()[0][0], Envelope) and place(TEMPLATES[0], codebook.load()[-1][0])
    (path,) = folder().glob("envelopes-*.json")
    for broken in ("[{", "[[1, 2]]", '[{"stages": 3}]', "{}", "7"):
        path.write_text(broken)
        assert codebook.load() == []


def test_a_device_is_measured_once_and_remembered(monkeypatch):
    monkeypatch.setattr(calibration, "_ROWS", 256)
    found = calibration.calibrate()
    assert all(getattr(found, name) > 0 for name in ("macs", "bandwidth", "launch", "gather", "compile_layer"))
    assert Device.here(1 << 30) == dataclasses.replace(found, memory=1 << 30)
    (path,) = folder().glob("device-*.json")
    path.write_text(json.dumps({"macs": "fast"}))
    assert kept(found.name) == {}


def test_a_population_in_envelopes_has_the_rows_of_one_in_programs_of_its_own(data, tmp_path):
    templates = [*TEMPLATES[:6], ODD]
    watch, store = Watch(), Store(tmp_path / "results.duckdb")
    exact = evaluate(templates, data, RECIPE, progress=False)
    rows = evaluate(templates, data, RECIPE, policy="envelope", progress=False, store=store, watch=watch)
    assert [row.status for row in rows] == ["ok"] * 7 and [r.key for r in rows] == [r.key for r in exact]
    for one, other in zip(rows, exact, strict=True):
        np.testing.assert_allclose(
            [epoch.train_loss for epoch in one.epochs], [epoch.train_loss for epoch in other.epochs], rtol=1e-3
        )
    assert {report.policy for report in watch.reports} == {"exact", "envelope"}
    assert sum(report.lanes for report in watch.reports) == 7
    programs = store.sql("SELECT * FROM programs")
    assert len(programs) == len(watch.reports) and (programs.train_seconds > 0).all()
    assert codebook.load()
    out = io.StringIO()
    progress.print_reports(watch, Console(file=out, width=160))
    assert "expected" in out.getvalue() and f"all {len(watch.reports)}" in out.getvalue()


def test_lanes_of_an_envelope_side_by_side(data, monkeypatch):
    from jnas.train._engine import jobs as population

    templates = TEMPLATES[:3]
    exact = evaluate(templates, data, RECIPE, progress=False)
    monkeypatch.setattr(population, "plan", lambda *_: type("Plan", (), {"width": 4})())
    monkeypatch.setattr(population, "assign", lambda t, p, load, known=(): assign(t, p, Workload(24, 0, gpu())))
    watch = Watch()
    rows = evaluate(templates, data, RECIPE, policy="envelope", progress=False, watch=watch)
    assert len(watch.reports) < 3 and watch.reports[0].width == 4
    for one, other in zip(rows, exact, strict=True):
        np.testing.assert_allclose(
            [epoch.train_loss for epoch in one.epochs], [epoch.train_loss for epoch in other.epochs], rtol=1e-3
        )


def test_what_no_shared_program_takes_is_trained_alone(data, monkeypatch):
    from jnas.train._engine import jobs as population

    plan = population.plan
    monkeypatch.setattr(population, "plan", lambda s, *args: None if s.policy == "envelope" else plan(s, *args))
    rows = evaluate(TEMPLATES[:3], data, RECIPE, policy="envelope", progress=False)
    exact = evaluate(TEMPLATES[:3], data, RECIPE, progress=False)
    assert [row.status for row in rows] == ["ok"] * 3
    assert [row.epochs for row in rows] == [row.epochs for row in exact]


def test_bfloat16_in_an_envelope_is_bfloat16_alone_up_to_rounding(data):
    recipe = dataclasses.replace(RECIPE, precision="bfloat16")
    rows = [evaluate(TEMPLATES[:4], data, recipe, policy=policy, progress=False) for policy in ("exact", "envelope")]
    for one, other in zip(*rows, strict=True):
        assert one.status == other.status == "ok"
        losses = [[epoch.train_loss for epoch in row.epochs] for row in (one, other)]
        np.testing.assert_allclose(*losses, rtol=3e-2)


def test_halving_goes_on_in_the_same_envelope(data, monkeypatch):
    from jnas.train._engine import jobs as population

    recipe = dataclasses.replace(RECIPE, epochs=3)
    monkeypatch.setattr(population, "assign", lambda t, p, load, known=(): assign(t, p, Workload(24, 0, gpu())))
    rows = successive_halving(TEMPLATES[:5], data, recipe, policy="envelope", progress=False)
    exact = evaluate(TEMPLATES[:5], data, recipe, progress=False)
    finished = [(row, other) for row, other in zip(rows, exact, strict=True) if row.status == "ok"]
    assert len(finished) == 2
    for row, other in finished:
        losses = [[epoch.train_loss for epoch in one.epochs] for one in (row, other)]
        np.testing.assert_allclose(*losses, rtol=1e-3)


def test_an_unknown_policy_is_named_before_anything_is_trained(data):
    with pytest.raises(JnasError, match="There is no policy 'best': choose one of exact, folded, envelope, auto"):
        evaluate(TEMPLATES[:1], data, RECIPE, policy="best", progress=False)
