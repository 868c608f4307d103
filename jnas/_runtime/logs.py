"""What libraries would log or warn of through jnas."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_logging() -> Iterator[None]:
    """Leaves the root logger as it is, whatever Orbax, TFDS and onnxruntime log: they give it a handler otherwise."""
    root, absl, handler = logging.getLogger(), logging.getLogger("absl"), logging.NullHandler()
    level = absl.level
    root.addHandler(handler)  # absl asks only whether there is one
    absl.setLevel(logging.ERROR)
    try:
        yield
    finally:
        absl.setLevel(level)
        root.removeHandler(handler)
