"""The forms of an export: their files, and the packages that they need beyond those of jnas."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypedDict, get_args

from jnas._validation import to_bool, to_choice, to_tuple
from jnas.errors import JnasError

FormName = Literal["flax", "onnx", "torch", "stablehlo", "int8"]
Format = Literal["all", "flax", "onnx", "torch", "stablehlo", "int8"]
InputKind = Literal["uint8", "float32"]

FORMS: tuple[FormName, ...] = get_args(FormName)
CHECKED_FILES: dict[FormName, str] = {
    "flax": "model.py",
    "onnx": "model.onnx",
    "torch": "model_torch.py",
    "stablehlo": "model.stablehlo",
    "int8": "model_int8.onnx",
}
"""The file of each form that classifies images."""
_PACKAGES: dict[FormName, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "torch": ("safetensors",),
    "int8": ("onnx", "onnxruntime"),
}
"""To write a form and to check it; PyTorch is only for the check, which is left out without it."""
_INSTALL = "pip install 'jnas[export]'"


class GraphOptions(TypedDict, total=False):
    """What else `export_model` takes as keyword arguments."""

    input: InputKind
    views: bool


@dataclass(frozen=True)
class Options:
    """Which forms are written, and how: see `export_model`."""

    forms: tuple[FormName, ...]
    input: InputKind = "uint8"
    views: bool = True


_RULES = {"input": partial(to_choice, choices=get_args(InputKind)), "views": to_bool}


def is_installed(package: str) -> bool:
    """Returns whether a package can be imported, without doing so."""
    return importlib.util.find_spec(package) is not None


def make_options(format: str | Iterable[str] | None, **settings: object) -> tuple[Options, str | None]:
    """Returns the options, and a sentence on what was left out because packages are missing, or None.

    Raises:
      JnasError: if a value is none of the choices, or the packages of a form that was asked for are missing.
    """
    for name in settings.keys() - _RULES.keys():
        raise JnasError(f"An export has no setting {name!r}: give any of {', '.join(_RULES)}.")
    made = {name: _RULES[name](name, value) for name, value in settings.items()}
    missing: dict[FormName, list[str]] = {
        form: [name for name in _PACKAGES.get(form, ()) if not is_installed(name)] for form in FORMS
    }
    if format is None:
        left_out = "; ".join(
            f"{form} (not installed: {' and '.join(names)})" for form, names in missing.items() if names
        )
        forms = tuple[FormName, ...](form for form in FORMS if not missing[form])
        return Options(forms, **made), f"Left out: {left_out}. To have all forms: {_INSTALL}." if left_out else None
    condition = f"names among {', '.join(get_args(Format))}"
    names = (format,) if isinstance(format, str) else to_tuple("format", format, condition)
    chosen = [to_choice("format", name, get_args(Format)) for name in names]
    if not chosen:
        raise JnasError(f"format must be {condition}, got none of them; leave it out for all that are installed.")
    forms = tuple[FormName, ...](form for form in FORMS if form in chosen or "all" in chosen)
    for form in forms:
        if packages := missing[form]:
            verb = "is" if len(packages) == 1 else "are"
            raise JnasError(
                f"The form {form} needs {' and '.join(packages)}, which {verb} not installed: run {_INSTALL}."
            )
    return Options(forms, **made), None
