"""Words of a command as its options, so that what is wrong with them is said as in Python."""

import difflib
from collections.abc import Callable
from typing import Any, Literal, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jnas._validation import shown
from jnas.errors import JnasError

_REGISTRY = ConstructorRegistry()


def read_options(options: Callable[..., Any], prog: str, words: list[str], default: Any = None) -> Any:
    """Returns the options of a subcommand; what is no number and no choice is text, which their rules refuse.

    Raises a JnasError where a word is no option.
    """
    found, unknown = tyro.cli(
        options, prog=prog, args=words, default=default, registry=_REGISTRY, return_unknown_args=True
    )
    if unknown:
        names = [f"--{name.replace('_', '-')}" for name in vars(found)]
        near = difflib.get_close_matches(unknown[0], names, 1)
        hint = f"perhaps you mean {near[0]}" if near else f"`{prog} --help` shows all"
        raise JnasError(f"{shown(unknown[0])} is no option of {prog}: {hint}.")
    return found


@_REGISTRY.primitive_rule
def _read_any_text(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    choices = get_args(info.type) if info.type_origin is Literal else ()
    if not choices and info.type not in (int, float):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(choices)}}}" if choices else info.type.__name__.upper(),
        instance_from_str=lambda words: words[0] if choices else _to_number(words[0]),
        is_instance=lambda value: value in choices if choices else isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def _to_number(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return word
