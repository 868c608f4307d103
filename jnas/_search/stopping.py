"""When a search ends: by its limits, by Ctrl-C, or by a signal to end."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jnas._search.callbacks import Callback
from jnas._search.config import SearchConfig


def stop_reason(
    config: SearchConfig, num_trained: int, best: float, seconds: float, reserve: float, interrupted_by: str
) -> str | None:
    """Returns why nothing more should begin, in a few words, or None.

    `num_trained` counts all runs of the search, `seconds` are those of this one, of which `reserve` are kept for what
    comes after. `best` is the best validation accuracy so far, 0 where there is none.
    """
    if interrupted_by:
        return f"by {interrupted_by}"
    if config.target_accuracy is not None and best >= config.target_accuracy:
        return f"at a validation accuracy of {best:.4f} (target {config.target_accuracy:g})"
    if config.max_trials is not None and num_trained >= config.max_trials:
        return f"after {num_trained} templates"
    limit = config.time_limit
    if limit is not None and seconds + reserve > limit:
        left = f", of which {limit - seconds:.0f} s are left for training the best for longer" * (seconds < limit)
        return f"for its limit of {describe_minutes(limit)}{left}"
    return None


def describe_minutes(seconds: float) -> str:
    """Returns a time in words, such as "3 minutes"."""
    return f"{seconds / 60:g} minute{'s' * (seconds != 60)}"


@dataclass
class Interrupt:
    """What the user or the system ended the search by: "Ctrl-C", "SIGTERM" or "SIGHUP"; empty as long as none did."""

    by: str = ""


@contextmanager
def catch_interrupt(callback: Callback) -> Iterator[Interrupt]:
    """A context in which the first Ctrl-C is only noted; the next ones raise KeyboardInterrupt.

    SIGTERM and SIGHUP, which systems send more than once, are only noted each time. One of these that is ignored, as
    by `nohup`, stays so. Python gives signals to its main thread only; elsewhere this changes nothing.
    """
    interrupt = Interrupt()
    terminals = [fd for fd in (0, 1, 2) if _is_terminal(fd)]

    def handle(number: int, _: object) -> None:
        for fd in terminals:
            if not _is_terminal(fd):  # it was closed, and printing would fail
                os.dup2(os.open(os.devnull, os.O_RDWR), fd)
        if not interrupt.by:
            interrupt.by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            callback.on_interrupt()
        elif number == signal.SIGINT:
            callback.on_second_interrupt()
            raise KeyboardInterrupt

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous[signal.SIGINT] = signal.getsignal(signal.SIGINT)
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP; None is a handler that could not be put back
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                previous[number] = signal.getsignal(number)
    try:
        for number in previous:
            signal.signal(number, handle)
        yield interrupt
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
