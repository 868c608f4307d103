"""The time of a search."""

import time


class Clock:
    """Counts the seconds since a search may train; `start` is a time of `time.monotonic`."""

    def __init__(self, start: float) -> None:
        self.start = start

    @property
    def seconds(self) -> float:
        """Those that have passed, without those of which `leave_out` was told."""
        return time.monotonic() - self.start

    def leave_out(self, seconds: float) -> None:
        """Does not count the seconds in which the search had to wait for something else."""
        self.start += seconds
