"""Trained weights on disk."""

from pathlib import Path

from flax import nnx

from jnas._runtime import checkpoint
from jnas._runtime.jax_config import with_own_settings
from jnas._validation import refuse
from jnas.space import Template


@with_own_settings
def save_weights(folder: Path, template: Template, module: nnx.Module) -> None:
    """Writes the weights and batch statistics of a template's module; what `folder` held is replaced."""
    metadata = {"hash": template.hash, "in_shape": template.in_shape, "classes": template.classes}
    checkpoint.save(folder, nnx.to_pure_dict(_weights(module)), metadata)


@with_own_settings
def load_weights(folder: Path, template: Template) -> nnx.Module:
    """Returns the template's module in evaluation mode with its weights in `folder`, or a JnasError if it has none."""
    metadata = checkpoint.load_metadata(folder)
    if metadata.get("hash") != template.hash or metadata.get("classes") != template.classes:
        refuse(
            str(folder), f"a folder with the weights of {template.hash}", metadata.get("hash"), "name another folder"
        )
    module = template.build(nnx.Rngs(0))
    state = _weights(module)
    nnx.replace_by_pure_dict(state, checkpoint.restore(folder, nnx.to_pure_dict(state)))
    nnx.update(module, state)
    module.eval()
    return module


def _weights(module: nnx.Module) -> nnx.State:
    return nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
