"""The environment of the fresh processes in which exported files are tried."""

import os


def fresh_environment() -> dict[str, str]:
    """Returns the environment: nothing is written beside the files, and the memory of a GPU is left to this process."""
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
