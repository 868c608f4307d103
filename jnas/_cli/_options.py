"""Words of a command as its options, so that what is wrong with them is said as in Python."""

import ast
import dataclasses
import difflib
import inspect
import textwrap
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jnas._validation import shown
from jnas.errors import JnasError

GROUPS = {
    "recipe": (
        *("classes", "recipe", "batch_size", "learning_rate", "val_fraction", "class_weights"),
        *("alternating_flip", "shift", "cut_out", "test_flip", "test_shift", "precision"),
    ),
    "candidate": (
        *("space", "conv_num", "lin_num", "epochs", "train_images", "known_networks", "num_random"),
        *("trials_per_generation", "prune_after_epochs", "compile_timeout"),
    ),
    "winner": ("num_promoted", "final_epochs", "final_repeats", "num_finalists"),
}
FIRST = ("data", "minutes", "out", "store", "objectives")
"""Options that `--help` shows first; those of `GROUPS` it shows last, in boxes of their own."""

_REGISTRY = ConstructorRegistry()


def read_options(options: type, prog: str, words: list[str], default: Any = None) -> Any:
    """Returns the options of a subcommand, a dataclass; `default` is one of it whose values are the defaults.

    What is no number and no choice is text, which their rules refuse. Raises a JnasError where a word is no option.
    """
    grouped = _group(options, default)
    found, unknown = tyro.cli(
        grouped,
        prog=prog,
        args=words,
        registry=_REGISTRY,
        config=(tyro.conf.OmitArgPrefixes,),
        return_unknown_args=True,
    )
    values = dict(vars(found))
    for group in GROUPS.keys() & values.keys():
        values |= vars(values.pop(group))
    if unknown:
        names = [f"--{name.replace('_', '-')}" for name in values]
        near = difflib.get_close_matches(unknown[0], names, 1)
        hint = f"perhaps you mean {near[0]}" if near else f"`{prog} --help` shows all"
        raise JnasError(f"{shown(unknown[0])} is no option of {prog}: {hint}.")
    return options(**values)


def _group(options: type, default: Any) -> type:
    """Returns a dataclass like `options`, but with fields of `GROUPS` in dataclasses of their own."""
    texts, types = read_docstrings(options), get_type_hints(options, include_extras=True)
    defaults = {field.name: field.default for field in dataclasses.fields(options)} | (vars(default) if default else {})

    def make(title: str, names: Iterable[str], groups: Iterable[type] = ()) -> type:
        fields: list[tuple] = [
            (name, Annotated[types[name], tyro.conf.arg(help=texts[name])], dataclasses.field(default=defaults[name]))
            for name in names
        ]
        fields += [(group.__name__, group, dataclasses.field(default=group())) for group in groups]
        return dataclasses.make_dataclass(title, fields, frozen=True)

    names = [field.name for field in dataclasses.fields(options)]
    parts = {title: [name for name in members if name in names] for title, members in GROUPS.items()}
    others = [name for name in names if not any(name in members for members in parts.values())]
    first = sorted(others, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    made = make("Options", first, [make(title, members) for title, members in parts.items() if members])
    made.__doc__ = options.__doc__
    return made


def read_docstrings(options: type) -> dict[str, str]:
    """Returns the text below each field of a dataclass, and of those that it is made from."""
    texts = {}
    for base in (base for base in reversed(options.__mro__) if dataclasses.is_dataclass(base)):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in zip(definition.body, definition.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    texts[name] = " ".join(words.split())
    return texts


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
