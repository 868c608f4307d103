"""When a search ends: by its limits, or by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

from jnas._search.config import SearchConfig
from jnas._search.progress import Progress
from jnas._search.result import EvaluatedCandidate


def stop_reason(
    config: SearchConfig, num_trained: int, finalists: Sequence[EvaluatedCandidate], seconds: float, interrupted: bool
) -> str | None:
    """Returns why nothing more should begin, in a few words, or None.

    Args:
      config: the limits.
      num_trained: templates trained in all runs of the search.
      finalists: the candidates that would be trained for longer now, the best first.
      seconds: what this run has taken.
      interrupted: whether Ctrl-C was pressed.
    """
    if interrupted:
        return "by Ctrl-C"
    accuracy = finalists[0].accuracy if finalists else 0.0
    if config.target_accuracy is not None and accuracy >= config.target_accuracy:
        return f"at a validation accuracy of {accuracy:.4f} (target {config.target_accuracy:g})"
    if config.max_trials is not None and num_trained >= config.max_trials:
        return f"after {num_trained} templates"
    rows, epochs = [finalist.evaluation for finalist in finalists], config.final_repeats * config.final_epochs
    reserve = sum(row.compile_seconds + row.train_seconds / len(row.epochs) * epochs for row in rows)
    if config.minutes is not None and seconds + reserve > 60 * config.minutes:
        kept = f", of which about {reserve:.0f} s are kept for training the best for longer" if reserve else ""
        return f"for its limit of {config.minutes:g} minutes{kept}"
    return None


class SigintHandler:
    """A context in which the first Ctrl-C only sets `interrupted`; `progress` says what the next ones do.

    Python gives signals to its main thread only; elsewhere this changes nothing.
    """

    def __init__(self, progress: Progress):
        self.progress = progress
        self.interrupted = False
        self.is_active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> SigintHandler:
        if self.is_active:
            self.previous_handler = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_active:
            signal.signal(signal.SIGINT, self.previous_handler)

    def _handle(self, *_: object) -> None:
        if self.interrupted:
            self.progress.on_second_interrupt()
        else:
            self.interrupted = True
            self.progress.on_interrupt()
