"""Trained weights on disk, as an Orbax checkpoint beside the template's hash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from flax import nnx

from jnas.errors import JnasError
from jnas.space import Template


def save(folder: Path, template: Template, module: nnx.Module) -> None:
    """Writes the weights and batch statistics of `module`, the template's; what `folder` held is replaced.

    The folder appears under its name only when it is complete.
    """
    folder = folder.absolute()
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(unfinished / "weights", nnx.to_pure_dict(_weights(module)))
    about = {"hash": template.hash, "in_shape": template.in_shape, "classes": template.classes}
    (unfinished / "template.json").write_text(json.dumps(about))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def load(folder: Path, template: Template) -> nnx.Module:
    """The template's module with the weights that `save` wrote, in evaluation mode.

    Raises:
      JnasError: `folder` holds no weights, or those of another template.
    """
    folder = Path(folder).absolute()
    try:
        about = json.loads((folder / "template.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise JnasError(f"{folder} holds no weights of a template: name a folder that a search wrote.") from error
    if about["hash"] != template.hash or about["classes"] != template.classes:
        raise JnasError(f"{folder} holds the weights of another template ({about['hash']}): name that template's.")
    module = template.build(nnx.Rngs(0))
    state = _weights(module)
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), nnx.to_pure_dict(state))
    with ocp.StandardCheckpointer() as checkpointer:
        nnx.replace_by_pure_dict(state, checkpointer.restore(folder / "weights", abstract))
    nnx.update(module, state)
    module.eval()
    return module


def _weights(module: nnx.Module) -> nnx.State:
    return nnx.state(module, nnx.Any(nnx.Param, nnx.BatchStat))
