"""The commit of the source, and the versions of the packages that results depend on."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1]
_PACKAGES = ("jax", "jaxlib", "flax", "jnas")
_GIT_TIMEOUT = 10
"""Seconds to wait for git, on a slow disk."""


@cache
def git_commit() -> str | None:
    """Returns the commit of jnas' source, followed by " changed" if the source differs from it.

    Returns:
      None if jnas does not run from a checkout of its own, or git does not answer.
    """
    # An installed jnas may lie within the checkout of another project.
    if not (_SOURCE.parent / ".git").exists():
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", str(_SOURCE))
    if not commit or changes is None:
        return None
    return f"{commit} changed" if changes else commit


@cache
def versions() -> dict[str, str]:
    """Returns the versions of jax, jaxlib, flax, jnas and python; "unknown" for a package that is not installed."""
    return {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def _git(*arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(_SOURCE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that is not installed
        return "unknown"
