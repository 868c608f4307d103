"""Callbacks that write to experiment trackers."""

import sys
import types

import numpy as np
import pytest
from conftest import exhaustive, small_arrays

import jnas
from jnas.trackers import MLflow, TensorBoard, WandB

FEW = {"num_random": 3, "known_networks": False, "generations": 0, "batch_size": 24, "final_epochs": 1, "report": False}
FEW |= {"space": "sophius", "conv_num": 1, "lin_num": 1, "max_macs": 100_000, "epochs": 1}


def search(tmp_path, tracker):
    return jnas.search(small_arrays(), out=tmp_path / "run", callbacks=[tracker], verbose=False, **FEW)


class Recorder(types.ModuleType):
    """A tracker's module that notes its calls."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def __getattr__(self, name):
        if name[0] == "_":
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


def test_mlflow_gets_settings_numbers_and_the_outcome(tmp_path, fake_trainer, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", module := Recorder("mlflow"))
    result = search(tmp_path, MLflow("digits"))
    names = [name for name, _, _ in module.calls]
    assert names == [
        *("set_experiment", "start_run", "log_params"),
        *("log_metrics",) * 3,
        *("log_metrics", "set_tags", "end_run"),
    ]
    assert module.calls[0][1] == ("digits",) and module.calls[2][1][0]["num_random"] == 3
    steps = [(args[0], kwargs["step"]) for name, args, kwargs in module.calls[3:6]]
    assert [step for _, step in steps] == [1, 2, 3]
    assert [values["val_acc"] for values, _ in steps] == result.to_df().val_acc_final.tolist()
    assert steps[-1][0]["best_val_acc"] == result.candidates[0].accuracy
    assert module.calls[6][1][0]["winner_test_acc"] == result.best.final.test_acc_final
    assert module.calls[7][1][0] == {"winner_hash": result.best.template.hash}


@pytest.mark.parametrize("package", ["wandb", *exhaustive("trackio")])
def test_weights_and_biases_and_what_has_its_interface(tmp_path, fake_trainer, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, module := Recorder(package))
    search(tmp_path, WandB("digits", package))
    assert [name for name, _, _ in module.calls] == ["init", "log", "log", "log", "log", "finish"]
    assert module.calls[0][2]["project"] == "digits" and module.calls[3][2] == {"step": 3}


def test_tensorboard_reads_what_was_written(tmp_path, fake_trainer):
    writer = pytest.importorskip("tensorboardX")
    result = search(tmp_path, TensorBoard(tmp_path / "board"))
    (file,) = (tmp_path / "board").iterdir()
    events = [value for event in read_events(file, writer) for value in event.summary.value]
    accuracies = [value.simple_value for value in events if value.tag == "val_acc"]
    np.testing.assert_allclose(accuracies, result.to_df().val_acc_final, rtol=1e-6)
    assert {"settings/text_summary", "winner_hash/text_summary", "winner_test_acc"} <= {value.tag for value in events}


def read_events(file, writer):
    """The records of an event file: a length, its check, the bytes, their check."""
    content, start = file.read_bytes(), 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 8], "little")
        yield writer.proto.event_pb2.Event.FromString(content[start + 12 : start + 12 + size])
        start += 16 + size


def test_lines_are_logged_where_logging_is_set_up(tmp_path, fake_trainer, caplog, capsys):
    with caplog.at_level("INFO", "jnas"):
        jnas.search(small_arrays(), out=tmp_path / "run", **FEW)
    assert {(record.name, record.levelname) for record in caplog.records} == {("jnas", "INFO")}
    assert capsys.readouterr().out == ""
    for text in ("jnas searches on", "val acc", "Trained for 1 epoch: validation accuracy", "The winner ("):
        assert text in caplog.text
    jnas.search(small_arrays(), out=tmp_path / "run", **FEW)
    assert "The winner (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "package"), [(MLflow, "mlflow-skinny"), (WandB, "wandb"), (TensorBoard, "tensorboardX")]
)
def test_a_tracker_that_is_not_installed_is_said(make, package, monkeypatch):
    for name in ("mlflow", "wandb", "tensorboardX"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(jnas.JnasError, match=f"This tracker needs {package}: pip install {package}"):
        make()
