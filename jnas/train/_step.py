"""The training step and the evaluation step of one program, as pure functions of one trial.

Everything in which trials of one program may differ is an argument, so the functions can be vmapped over trials. How
they are driven is the trainer's concern: stepped from the host or scanned, one trial or several side by side.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int32

from jnas.nn import build, graph_defs
from jnas.space import Conv2d, Template
from jnas.train import _optimizer as optimizer
from jnas.train._initial_params import initial_params
from jnas.train._recipe import Recipe


class TrialHyperparams(NamedTuple):
    """Training hyper-parameters of one trial; with a leading axis on each field, of several.

    Image order and augmentation follow from the seed, a uint32; the learning rate, a float32, is the schedule's peak.
    `whitening` is that of the first convolution's patches, or None; so are the weights of `[classes]` in the loss.
    """

    seed: Any
    learning_rate: Any
    weight_decay: Any
    whitening: Any = None
    class_weights: Any = None


class TrainState(NamedTuple):
    """What training changes. `model_state`: batch statistics, dropout's random streams, run-time scalars."""

    params: Any
    model_state: Any
    opt_state: Any


class Metrics(NamedTuple):
    """Sums over the images of an epoch: float32 `loss` and int32 number of `correct` answers."""

    loss: Any
    correct: Any


@dataclass(frozen=True)
class Steps:
    """The pure functions of a program: the signature that `jnas.nn.program_signature` returns, under a recipe."""

    signature: Template
    recipe: Recipe

    @property
    def whitened_kernel_size(self) -> int | None:
        """The kernel size of the first layer where its patches are whitened, or None: only a convolution's can be."""
        first = self.signature.layers[0]
        return first.kernel_size if self.recipe.whiten and isinstance(first, Conv2d) else None

    def init_state(self, template: Template, seed: int, whitening: np.ndarray | None = None) -> TrainState:
        """Returns a template's state before the first step; made on the host, so that nothing is compiled for it."""
        _, params, model_state = nnx.split(build(template, nnx.Rngs(jax.random.key(seed))), nnx.Param, ...)
        params = initial_params(self.recipe, params, whitening)
        return TrainState(params, model_state, optimizer.init_opt_state(self.recipe, params))

    def state_shapes(self) -> TrainState:
        """Returns the state's shapes and types."""
        graphs = graph_defs(self.signature)
        return TrainState(graphs.params, graphs.model_state, optimizer.opt_state_shapes(self.recipe, graphs.params))

    def module(self, state: TrainState, train: bool = False) -> nnx.Module:
        """Returns the module with the weights of `state`, in training or in evaluation mode."""
        # Copied, so that the module's changes stay its own: `nnx.merge` may hand on the variables it is given.
        params, model_state = jax.tree.map(lambda leaf: leaf, (state.params, state.model_state))
        graphs = graph_defs(self.signature)
        return nnx.merge(graphs.train if train else graphs.evaluation, params, model_state)

    def train_step(
        self,
        state: TrainState,
        metrics: Metrics,
        hyperparams: TrialHyperparams,
        inputs: Float[Array, "b h w c"],
        labels: Int32[Array, " b"],
        lr_factor: Float[Array, ""],
    ) -> tuple[TrainState, Metrics]:
        """Returns the state after one step of training, and the metrics grown by this batch's."""
        targets = jax.nn.one_hot(labels, self.signature.classes)
        targets = optax.smooth_labels(targets, self.recipe.label_smoothing)

        def loss_fn(params):
            module = self.module(TrainState(self._cast(params), state.model_state, None), train=True)
            logits = module(self._cast(inputs)).astype(jnp.float32)
            _, _, model_state = nnx.split(module, nnx.Param, ...)
            losses = optax.softmax_cross_entropy(logits, targets)
            if hyperparams.class_weights is None:
                loss = losses.mean()
            else:
                weights = hyperparams.class_weights[labels]
                loss = (losses * weights).sum() / weights.sum()
            return loss, (model_state, (logits.argmax(-1) == labels).sum(dtype=jnp.int32))

        (loss, (model_state, correct)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        learning_rate = hyperparams.learning_rate * lr_factor
        params, opt_state = optimizer.update(
            self.recipe,
            state.params,
            gradients,
            state.opt_state,
            learning_rate,
            hyperparams.weight_decay,
            hyperparams.whitening,
        )
        metrics = Metrics(metrics.loss + loss * len(labels), metrics.correct + correct)
        return TrainState(params, model_state, opt_state), metrics

    def logits(self, params: Any, model_state: Any, inputs: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Returns the logits of normalised images, in evaluation mode."""
        module = self.module(TrainState(self._cast(params), model_state, None))
        return module(self._cast(inputs)).astype(jnp.float32)

    def _cast(self, tree: Any) -> Any:
        """Float32 arrays in the recipe's precision; gradients come back in float32."""
        if self.recipe.precision == "float32":
            return tree
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16) if leaf.dtype == jnp.float32 else leaf, tree)
