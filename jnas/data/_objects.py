"""A reader of Python's own format of objects: of text, numbers, lists, dictionaries and arrays; it calls nothing.

Python's reader calls whatever a file names. This one goes through the instructions of a file, as `pickletools` lists
them without following them, and makes what they describe; any other instruction or name is an error.
"""

import pickletools
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

_RECONSTRUCT = {f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")}
_NAMES = {*_RECONSTRUCT, "numpy ndarray", "numpy dtype", "_codecs encode"}
_VALUES = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_MAKERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_TYPES = {"u1": np.uint8, "|u1": np.uint8, "i8": np.int64, "<i8": np.int64}
_MARK = object()


class _Name(str):
    """One of `_NAMES`, which is not called."""


class _Dtype(str):
    """A type of numbers."""


class _Array:
    """An array whose content follows."""

    value: np.ndarray


def read_objects(content: bytes) -> Any:
    """Returns the object that a file holds, bytes in it as text of the same bytes; a ValueError for any other file."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for instruction, argument, _ in cast("Iterable[tuple[Any, Any, Any]]", pickletools.genops(content)):
        name = instruction.name
        if name in _VALUES:
            stack.append(argument.decode("latin-1") if isinstance(argument, bytes) else argument)
        elif name in _MAKERS:
            stack.append(_MAKERS[name]())
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name.endswith("PUT") or name == "MEMOIZE":
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        elif name.endswith("GET"):
            stack.append(memo[int(argument)])
        elif name == "STOP":
            return _finished(stack.pop())
        elif name not in ("PROTO", "FRAME"):
            _apply(name, argument, stack)
    raise ValueError("cut off")


def _apply(name: str, argument: Any, stack: list[Any]) -> None:
    """Does what an instruction says that takes values from the stack."""
    if name in _TUPLES:
        stack.append(tuple(_pop(stack, _TUPLES[name])))
    elif name in ("TUPLE", "LIST"):
        stack.append((tuple if name == "TUPLE" else list)(_pop_to_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        items = _pop_to_mark(stack) if name == "APPENDS" else _pop(stack, 1)
        stack[-1] += items
    elif name in ("SETITEM", "SETITEMS", "DICT"):
        items = _pop(stack, 2) if name == "SETITEM" else _pop_to_mark(stack)
        if name == "DICT":
            stack.append({})
        stack[-1].update(zip(items[::2], map(_finished, items[1::2]), strict=True))
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        found = argument if name == "GLOBAL" else " ".join(_pop(stack, 2))
        if found not in _NAMES:
            raise ValueError(f"{found} is no array")
        stack.append(_Name(found))
    elif name == "REDUCE":
        function, arguments = _pop(stack, 2)
        stack.append(_call(function, arguments))
    elif name == "BUILD":
        (state,) = _pop(stack, 1)
        if isinstance(stack[-1], _Array):
            _, shape, dtype, is_fortran, pixels = state
            array = np.frombuffer(pixels.encode("latin-1"), _TYPES[dtype])
            stack[-1].value = array.reshape(shape, order="F" if is_fortran else "C")
    else:
        raise ValueError(f"{name} is no instruction of data")


def _call(function: _Name, arguments: tuple) -> Any:
    if function in _RECONSTRUCT:
        return _Array()
    if function == "numpy dtype":
        return _Dtype(arguments[0])
    if function == "_codecs encode":  # bytes, as the oldest versions of the format have them
        return arguments[0]
    raise ValueError(f"{function} is not called")


def _finished(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value


def _pop(stack: list[Any], count: int) -> list[Any]:
    values = stack[-count:]
    if len(values) < count or any(value is _MARK for value in values):
        raise ValueError("too few values")
    del stack[-count:]
    return values


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    place = max(index for index, value in enumerate(stack) if value is _MARK)
    values = stack[place + 1 :]
    del stack[place:]
    return values
