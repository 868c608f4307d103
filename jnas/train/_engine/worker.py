"""What a worker process does: it compiles, and on a CPU trains, whatever its parent sends."""

from __future__ import annotations

import contextlib
import queue
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from jnas._runtime.compilation_cache import use_compilation_cache
from jnas._runtime.jax_config import restore_jax_config
from jnas._runtime.malloc import trim_malloc, tune_malloc
from jnas.data import Split
from jnas.space import Template
from jnas.train._engine.group_trainer import GroupSpec, GroupTrainer
from jnas.train._engine.jobs import Failure
from jnas.train._engine.worker_process import ParentConnection
from jnas.train._recipe import Recipe
from jnas.train._trainer import Trainer, TrainingRun

_IDLE_SECONDS = 1.0
"""Seconds without a message after which a worker returns free memory to the system."""


@dataclass(frozen=True)
class CompileRequest:
    """Compiles programs into the cache on disk, for the parent to load; the reply is None.

    Attributes:
      jax_config: the parent's settings.
      template, recipe, shapes, num_lanes, scan: arguments of `Trainer`.
    """

    jax_config: dict[str, Any]
    template: Template
    recipe: Recipe
    shapes: Split
    num_lanes: int
    scan: bool


@dataclass(frozen=True)
class GroupRequest:
    """Compiles the program of a group; the reply is a `CompileReply`. The images were sent before."""

    jax_config: dict[str, Any]
    spec: GroupSpec


class CompileReply(NamedTuple):
    """What compiling the program of a group came to."""

    failure: Failure | None
    num_lanes: int
    memory: int


@dataclass(frozen=True)
class TrainRequest:
    """Trains the group; the replies are the number of each epoch, and a list of outcomes for each chunk of trials."""

    runs: list[TrainingRun | None]
    until: int
    keep: bool


def worker_main() -> None:
    """Serves the parent until it ends."""
    parent = ParentConnection()
    tune_malloc()
    use_compilation_cache()
    jax.devices()
    parent.send("ready")
    split: Split | None = None
    trainer: GroupTrainer | None = None
    while True:
        try:
            message = parent.receive(_IDLE_SECONDS)
        except queue.Empty:
            trim_malloc()
            message = parent.receive()
        match message:
            case Split():
                split = message
            case CompileRequest():
                with contextlib.suppress(Exception):  # the parent, which tries the same, will say why
                    restore_jax_config(message.jax_config)
                    arguments = message.recipe, message.shapes, message.num_lanes, message.scan
                    Trainer(message.template, *arguments).compile()
                parent.send(None)
            case GroupRequest():
                assert split is not None
                restore_jax_config(message.jax_config)
                trainer = GroupTrainer(message.spec, split)
                failure = trainer.compile()
                parent.send(CompileReply(failure, trainer.num_lanes, trainer.memory))
            case TrainRequest():
                assert trainer is not None
                for outcomes in trainer.train(message.runs, message.until, message.keep, parent.send):
                    parent.send(outcomes)
                trainer = None
