"""When a search ends: what it may spend, and the user's own wish."""

from __future__ import annotations

import time
from collections.abc import Callable

from jnas._search.config import SearchConfig


class Budget:
    """What a search may spend: minutes in this run of it, templates in all runs of it together.

    Args:
      config: the limits.
      asked: whether the user wants it to end.
    """

    def __init__(self, config: SearchConfig, asked: Callable[[], bool] = lambda: False):
        self.minutes, self.max_trials, self.target = config.minutes, config.max_trials, config.target_accuracy
        self.asked = asked
        self.begun = time.monotonic()

    def left(self, trained: int) -> int | None:
        """How many templates may still be trained, or None for any number."""
        return None if self.max_trials is None else max(0, self.max_trials - trained)

    def spent(self, trained: int, best: float, reserve: float) -> str | None:
        """Why nothing more should be begun, in a few words, or None.

        Args:
          trained: templates.
          best: the highest validation accuracy so far.
          reserve: seconds that training the best for longer is going to take.
        """
        if self.asked():
            return "by Ctrl-C"
        if self.target is not None and best >= self.target:
            return f"at a validation accuracy of {best:.4f} (target {self.target:g})"
        if self.left(trained) == 0:
            return f"after {trained} templates"
        if self.minutes is not None and time.monotonic() - self.begun + reserve > 60 * self.minutes:
            kept = f", of which about {reserve:.0f} s are kept for training the best for longer" if reserve else ""
            return f"for its limit of {self.minutes:g} minutes{kept}"
        return None
