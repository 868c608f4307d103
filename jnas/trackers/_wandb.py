"""Weights & Biases, and what has its interface."""

from typing import Any, Literal

from jnas._validation import to_choice, to_text
from jnas.trackers._tracker import Tracker, load_tracker


class WandB(Tracker):
    """Logs a search as a run of Weights & Biases; with `package="trackio"` of Trackio, which stays on this machine."""

    def __init__(self, project: str = "jnas", package: Literal["wandb", "trackio"] = "wandb"):
        super().__init__()
        self._project = to_text("project", project)
        name = to_choice("package", package, ("wandb", "trackio"))
        self._wandb, self._is_started = load_tracker(name, name), False

    def start(self, settings: dict[str, Any]) -> None:
        self._wandb.init(project=self._project, config=settings)
        self._is_started = True

    def log(self, values: dict[str, float], step: int) -> None:
        self._wandb.log(values, step=step)

    def finish(self, outcome: dict[str, Any]) -> None:
        self._wandb.log(outcome)

    def close(self) -> None:
        if self._is_started:
            self._wandb.finish()
