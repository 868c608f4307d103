"""Ctrl-C: once is a wish, twice an order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


class Interrupt:
    """A context in which the first Ctrl-C is noted down.

    Python gives signals to its main thread only; elsewhere this changes nothing.

    Args:
      first: called at the first one.
      second: called at the next ones; what Python does without this, where not given.
    """

    def __init__(self, first: Callable[[], None], second: Callable[[], None] | None = None):
        self.first, self.second = first, second
        self.asked = False

    def __enter__(self) -> Interrupt:
        self.here = threading.current_thread() is threading.main_thread()
        if self.here:
            self.before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_) -> None:
        if self.here:
            signal.signal(signal.SIGINT, self.before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            self.first()
        elif self.second:
            self.second()
        else:
            signal.default_int_handler(number, frame)
