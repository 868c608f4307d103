"""Where the wall clock of a population goes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from jnas.train._engine.jobs import ProgramReport


@dataclass
class TimingStats:
    """Counts and seconds of a call, updated while it runs.

    Attributes:
      num_trials: trials that were trained, or failed.
      start_time: when it started, by `time.perf_counter`.
      compile_wait_seconds: in which nothing trained, as programs were not compiled yet.
      compile_seconds: of all programs together.
      num_programs: programs that were compiled, or loaded from the cache.
      reports: one for each program that is done.
      num_recorded: reports that were offered to the store.
    """

    num_trials: int = 0
    start_time: float = field(default_factory=time.perf_counter)
    compile_wait_seconds: float = 0.0
    compile_seconds: float = 0.0
    num_programs: int = 0
    reports: list[ProgramReport] = field(default_factory=list)
    num_recorded: int = 0

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start_time


class ProcessorShareClock:
    """Seconds, divided among those that train at the same time: with two of them it runs half as fast."""

    def __init__(self):
        self._lock, self._count, self._total, self._last = threading.Lock(), 0, 0.0, time.perf_counter()

    def now(self) -> float:
        """Returns the present time."""
        with self._lock:
            return self._advance()

    def enter(self) -> None:
        """One more trains."""
        with self._lock:
            self._advance()
            self._count += 1

    def leave(self) -> None:
        """One is done."""
        with self._lock:
            self._advance()
            self._count -= 1

    def _advance(self) -> float:
        now = time.perf_counter()
        self._total += (now - self._last) / max(self._count, 1)
        self._last = now
        return self._total
