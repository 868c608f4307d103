"""The commit of the source, and the versions of the packages that results depend on."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1]
_PACKAGES = ("jax", "jaxlib", "flax", "jnas")
_GIT_SECONDS = 10


@cache
def git_commit() -> str | None:
    """Returns the commit of jnas' source, followed by " changed" if it differs; None outside a checkout of its own."""
    if not (_SOURCE.parent / ".git").exists():  # an installed jnas may lie within the checkout of another project
        return None
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", str(_SOURCE))
    if not commit or changes is None:
        return None
    return f"{commit} changed" if changes else commit


@cache
def versions(packages: tuple[str, ...] = _PACKAGES) -> dict[str, str]:
    """Returns the versions of Python and of packages; "unknown" for one that is not installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a checkout that is not installed
            found[name] = "unknown"
    return found


def _git(*arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(_SOURCE.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
