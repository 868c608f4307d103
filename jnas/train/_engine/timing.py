"""Where the wall clock of a population goes."""

import threading
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ProgramReport:
    """A program that is done: the trials that it trained, so many side by side (0: no program), where, and seconds."""

    num_trials: int
    lanes_per_program: int
    compile_seconds: float
    train_seconds: float
    device: str


@dataclass
class TimingStats:
    """Counts and seconds of a call, updated while it runs.

    `num_trials` were trained, or failed. In `compile_wait_seconds` nothing trained, as no program was compiled yet.
    """

    num_trials: int = 0
    start_time: float = field(default_factory=time.perf_counter)
    compile_wait_seconds: float = 0.0
    reports: list[ProgramReport] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start_time


class ProcessorShareClock:
    """Seconds, divided among those that train at the same time: with two of them it runs half as fast."""

    def __init__(self):
        self._lock, self._count, self._total, self._last = threading.Lock(), 0, 0.0, time.perf_counter()

    def now(self, num_entering: int = 0) -> float:
        """Returns the present time; from now on this many more train, or fewer if it is below 0."""
        with self._lock:
            now = time.perf_counter()
            self._total += (now - self._last) / max(self._count, 1)
            self._last = now
            self._count += num_entering
            return self._total
