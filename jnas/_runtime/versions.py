"""What made a result: the commit of the source, and the versions of what it ran with."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1]
_PACKAGES = ("jax", "jaxlib", "flax", "jnas")
_PATIENCE = 10
"""Seconds to wait for git, on a slow disk."""


@cache
def git_state() -> str | None:
    """The commit that jnas' source is at, followed by " changed" where the source differs from it.

    Returns:
      None where jnas does not run from a checkout of its own, or git does not tell.
    """
    # Installed, it may lie within the checkout of something else.
    if not (_SOURCE.parent / ".git").exists():
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", str(_SOURCE))
    if not commit or changes is None:
        return None
    return f"{commit} changed" if changes else commit


@cache
def versions() -> dict[str, str]:
    """The versions of jax, jaxlib, flax, jnas and python; "unknown" where a package is not installed."""
    return {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def _git(*words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(_SOURCE.parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
