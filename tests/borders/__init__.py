"""The table of what may come in from outside: a row a call, in one module a topic.

Each module of this package has `ROWS`. `test_borders.py` runs them all, and checks that every public function, option
and kind of file has rows.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "wrong type",
    "wrong value",
    "missing",
    "not readable",
    "not writable",
    "foreign",
    "damaged",
    "huge",
    "empty",
    "right",
]
"""What is wrong with what comes in; "right" is another way to say something that must be taken."""


class Row(NamedTuple):
    """One call: `call` runs in an empty folder, its argument; `expected` is its sentence, or says if a result is right.

    `subject` is a public name with its argument ("load_data.source", "Recipe.epochs"), or an option
    ("search --epochs"). A sentence is written whole, with "{folder}" for the folder. What a call needs, it makes.
    """

    subject: str
    kind: Kind
    call: Callable[[Path], Any]
    expected: str | Callable[[Any], bool]


def is_fine(_: Any) -> bool:
    """Any result is right, as long as there is one."""
    return True
