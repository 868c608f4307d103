"""Makes a Python value of what a caller gives, or says in one sentence what it must be.

Every public function takes its arguments through these, so that NumPy's and JAX's numbers count as numbers, and
anything else ends in one sentence with the field's name: *name* must be *condition*, got *value*; *hint*.
"""

import math
import operator
import os
import reprlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from jnas.errors import JnasError

T = TypeVar("T")
Rule = Callable[[str, Any], Any]
"""From a name and a value: the value as Python's, or a JnasError."""
_LONGEST_NAME = 255
"""Characters of a file's name, on all systems."""
_MOST_SHOWN = 80
"""Characters of a value in a sentence, at most."""
_MOST_QUOTED = 300
"""Characters of another library's error in a sentence, at most."""
_FIRST_BYTES = {
    b"SQLite format 3\0": "a SQLite file",
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a ZIP archive, as .npz and .xlsx are",
    b"\x89HDF": "an HDF5 file",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x93NUMPY": "a NumPy file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF",
    **dict.fromkeys((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*"), "one picture"),
    # Python's own format of any objects. Its name is left out: reading it runs what is in it.
    **dict.fromkeys((bytes((0x80, version)) for version in range(2, 6)), "a file of Python objects"),
}


def shown(value: Any) -> str:
    """Returns a value as one short line for a sentence: arrays by their type and shape, text in quotes."""
    if isinstance(value, np.ndarray) or (hasattr(value, "__array__") and getattr(value, "ndim", 0)):
        noun = f"an array of {value.dtype}" if hasattr(value, "dtype") else f"a {type(value).__name__}"
        return f"{noun} of shape {tuple(value.shape)}"
    if isinstance(value, float) or (isinstance(value, np.floating) and np.ndim(value) == 0):
        return f"{float(value):g}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bytes | os.PathLike):
        text = repr(os.fspath(value))
    else:
        try:
            text = reprlib.repr(value)
        except Exception:  # a repr of the caller's that raises, whatever it raises
            text = f"an object of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def first_line(error: BaseException) -> str:
    """Returns the cause of an error for a sentence: the system's own words, or one short line without a full stop."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    line = text.splitlines()[0].rstrip(".!: ")
    return line if len(line) <= _MOST_QUOTED else f"{line[: _MOST_QUOTED - 3]}..."


def kind_of_file(first: bytes) -> str:
    """Returns what a file is, for a sentence, by its first bytes."""
    kinds = (kind for begin, kind in _FIRST_BYTES.items() if first.startswith(begin))
    other = "a file of another kind" if any(byte < 9 for byte in first) else "a text file"
    return next(kinds, other) if first else "an empty file"


def refuse(name: str, condition: str, value: Any, hint: str = "") -> NoReturn:
    """Raises the `JnasError` of a value that cannot be used; `hint` says what to do."""
    raise JnasError(f"{name} must be {condition}, got {shown(value)}{f'; {hint}' if hint else ''}.")


def to_int(name: str, value: Any, minimum: int | None = None, maximum: int | None = None, hint: str = "") -> int:
    """Returns an integer of Python's; whole numbers such as 2.0 count as integers, text and booleans do not."""
    condition = "an integer"
    if minimum is not None and maximum is not None:
        condition += f" from {minimum:,} to {maximum:,}"
    elif minimum is not None:
        condition += f" >= {minimum:,}"
    elif maximum is not None:
        condition += f" <= {maximum:,}"
    number = _to_number(value)
    if number is None or number != int(number):
        refuse(name, condition, value, hint)
    number = int(number)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        refuse(name, condition, value, hint)
    return number


to_seed = partial(to_int, minimum=0, maximum=2**32 - 1)
"""`to_int` of a seed."""


def to_float(name: str, value: Any, interval: str = "(-inf, inf)", hint: str = "") -> float:
    """Returns a number of Python's in an interval, such as "[0, 1)"; a bound of "inf" is finite and unlimited."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    if high < math.inf:
        condition = f"a number in {interval}"
    elif low > -math.inf:
        condition = f"a finite number {'>=' if interval[0] == '[' else '>'} {low:g}"
    else:
        condition = "a finite number"
    number = _to_number(value)
    if number is None:
        refuse(name, condition, value, hint)
    above = operator.ge if interval[0] == "[" else operator.gt
    below = operator.le if interval[-1] == "]" else operator.lt
    try:
        number = float(number)
    except OverflowError:  # an integer above 1e308
        refuse(name, condition, value, hint)
    if not (above(number, low) and below(number, high)):
        refuse(name, condition, value, hint)
    return number


def to_bool(name: str, value: Any) -> bool:
    """Returns True or False of Python's."""
    if not isinstance(value, bool | np.bool_):
        refuse(name, "True or False", value)
    return bool(value)


def to_choice(name: str, value: Any, choices: Iterable[Any], hint: str = "") -> Any:
    """Returns the one of `choices` that equals the value and is of its kind: text, a number or a boolean."""
    choices = tuple(choices)
    plain = value.item() if isinstance(value, np.generic) else value
    for choice in choices:
        same_kind = isinstance(plain, str | int | float) and isinstance(plain, bool) == isinstance(choice, bool)
        if same_kind and plain == choice:
            return choice
    refuse(name, f"one of {', '.join(map(str, choices))}", value, hint)


def to_text(name: str, value: Any, hint: str = "") -> str:
    """Returns text of Python's."""
    if not isinstance(value, str):
        refuse(name, "text", value, hint)
    return str(value)


def to_instance(name: str, value: Any, kind: type[T], hint: str = "") -> T:
    """Returns the value, if it is an object of a class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        refuse(name, f"{article} {kind.__name__}", value, hint)
    return value


def to_function(name: str, value: Any, hint: str = "") -> Callable:
    """Returns the value, if it can be called."""
    if not callable(value):
        refuse(name, "a function", value, hint)
    return value


def optional(rule: Rule) -> Rule:
    """Returns a rule that takes None as it is, and all else as `rule` does."""
    return lambda name, value: None if value is None else rule(name, value)


def to_array(name: str, value: Any, condition: str = "an array of numbers") -> np.ndarray:
    """Returns an array of numbers or booleans; None in a list becomes NaN."""
    try:
        array = np.asarray(list(value) if isinstance(value, Iterator) else value)
        if array.dtype.kind in "OV":  # None, or a type that NumPy does not have, such as bfloat16
            array = array.astype(float)
    except (TypeError, ValueError, OverflowError):
        refuse(name, condition, value)
    if array.dtype.kind not in "buif":
        refuse(name, condition, value)
    return array


def to_integers(name: str, value: Any, condition: str = "an array of integers") -> np.ndarray:
    """Returns an array of integers; whole numbers such as 2.0 count as integers."""
    array = to_array(name, value, condition)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (np.floor(array) == array).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "ui":
        refuse(name, condition, value)
    return array


def apply_rules(values: Any, rules: dict[str, Rule]) -> None:
    """Makes the attributes of a frozen dataclass by the rules of their names."""
    for name, rule in rules.items():
        object.__setattr__(values, name, rule(name, getattr(values, name)))


def to_path(name: str, value: Any, hint: str = "") -> Path:
    """Returns a path with ~ as the user's home folder, where there is one."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        refuse(name, "the path of a file or folder", value, hint)
    if "\0" in os.fspath(value) or not os.fspath(value):
        refuse(name, "the path of a file or folder", value, hint)
    path = Path(value)
    if any(len(part) > _LONGEST_NAME for part in path.parts):
        refuse(name, f"a path of names of up to {_LONGEST_NAME} characters", value, hint)
    try:
        return path.expanduser()
    except RuntimeError:  # the user has no home folder
        return path


def to_tuple(name: str, value: Any, condition: str, length: int | None = None, hint: str = "") -> tuple:
    """Returns the items of a list, a tuple, an array or another iterable, of `length` if that is given."""
    no_items = isinstance(value, str | bytes | dict) or getattr(value, "ndim", 1) == 0
    if no_items or not isinstance(value, Iterable):
        refuse(name, condition, value, hint)
    try:
        items = tuple(value.tolist() if isinstance(value, np.ndarray) else value)
    except TypeError:  # an array without axes
        refuse(name, condition, value, hint)
    if length is not None and len(items) != length:
        refuse(name, condition, value, hint)
    return items


def _to_number(value: Any) -> int | float | None:
    """Returns a number of Python's without losing digits; None for what is none, and for NaN and infinity."""
    is_boolean = isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_
    if is_boolean or isinstance(value, str | bytes) or getattr(value, "ndim", 0):
        return None
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
