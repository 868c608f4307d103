"""The fresh processes in which exported files are tried."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jnas.errors import JnasError


def run_fresh(arguments: Sequence[str], folder: str | Path, failure: str) -> str:
    """Returns what a Python process in a folder prints.

    It writes nothing beside the files, and leaves the memory of a GPU to this process.

    Raises:
      JnasError: if it fails; the sentence begins with `failure`.
    """
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise JnasError(f"{failure} ({reason}): --no-check writes the files all the same.")
    return done.stdout
