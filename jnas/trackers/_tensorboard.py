"""TensorBoard, by tensorboardX."""

from pathlib import Path
from typing import Any

from jnas._validation import to_path
from jnas.trackers._tracker import Tracker, load_tracker


class TensorBoard(Tracker):
    """Writes a search for TensorBoard, which `tensorboard --logdir FOLDER` shows; needs tensorboardX."""

    def __init__(self, folder: str | Path = "jnas-run/tensorboard"):
        super().__init__()
        writer = load_tracker("tensorboardX", "tensorboardX").SummaryWriter
        self._writer = writer(str(to_path("folder", folder)))

    def start(self, settings: dict[str, Any]) -> None:
        self._writer.add_text("settings", "  \n".join(f"{name}: {value}" for name, value in settings.items()))

    def log(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, outcome: dict[str, Any]) -> None:
        for name, value in outcome.items():
            add = self._writer.add_text if isinstance(value, str) else self._writer.add_scalar
            add(name, value)

    def close(self) -> None:
        self._writer.close()
