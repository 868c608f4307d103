"""When a search ends: by its limits, or by Ctrl-C."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from jnas._search.config import SearchConfig
from jnas._search.progress import Progress
from jnas._search.result import EvaluatedCandidate


def stop_reason(
    config: SearchConfig, num_trained: int, finalists: Sequence[EvaluatedCandidate], seconds: float, interrupted: bool
) -> str | None:
    """Returns why nothing more should begin, in a few words, or None.

    `num_trained` counts all runs of the search, `seconds` are those of this one. The finalists are the candidates that
    would be trained for longer by now, the best first.
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


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed."""

    is_pressed: bool = False


@contextmanager
def catch_interrupt(progress: Progress) -> Iterator[Interrupt]:
    """A context in which the first Ctrl-C is only noted; `progress` decides what the next ones do.

    Python gives signals to its main thread only; elsewhere this changes nothing.
    """
    interrupt = Interrupt()

    def handle(*_: object) -> None:
        if interrupt.is_pressed:
            progress.on_second_interrupt()
        else:
            interrupt.is_pressed = True
            progress.on_interrupt()

    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    previous_handler = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous_handler)
