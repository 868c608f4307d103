"""The table of what may come in from outside: a row a call, in one module a topic.

Each module of this package has `ROWS`. `test_borders.py` runs them all, and checks that every public function, option
and kind of file has rows.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jnas._cli import main
from jnas.errors import JnasError

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


def command(*words: str) -> str:
    """What a command prints; its refusal, exit code 2 and a line on stderr, becomes a `JnasError`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    if code:
        assert code == 2 and err.getvalue().startswith("jnas: "), err.getvalue()
        raise JnasError(err.getvalue().removeprefix("jnas: ").removesuffix("\n"))
    return out.getvalue()


def refused(name: str, condition: str, value: Any, hint: str = "") -> str:
    """The sentence of a value that cannot be used."""
    return f"{name} must be {condition}, got {value}{f'; {hint}' if hint else ''}."
