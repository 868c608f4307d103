"""Trained weights on disk."""

from __future__ import annotations

from pathlib import Path

from flax import nnx

from jnas._runtime import checkpoint
from jnas.errors import JnasError
from jnas.space import Template


def save(folder: Path, template: Template, module: nnx.Module) -> None:
    """Writes the weights and batch statistics of `module`, the template's; what `folder` held is replaced."""
    about = {"hash": template.hash, "in_shape": template.in_shape, "classes": template.classes}
    checkpoint.save(folder, nnx.to_pure_dict(_weights(module)), about)


def load(folder: Path, template: Template) -> nnx.Module:
    """The template's module with the weights that `save` wrote, in evaluation mode.

    Raises:
      JnasError: `folder` holds no weights, or those of another template.
    """
    about = checkpoint.load_metadata(folder)
    if about.get("hash") != template.hash or about.get("classes") != template.classes:
        raise JnasError(f"{folder} holds the weights of another template ({about.get('hash')}): name that template's.")
    module = template.build(nnx.Rngs(0))
    state = _weights(module)
    nnx.replace_by_pure_dict(state, checkpoint.restore(folder, nnx.to_pure_dict(state)))
    nnx.update(module, state)
    module.eval()
    return module


def _weights(module: nnx.Module) -> nnx.State:
    return nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
