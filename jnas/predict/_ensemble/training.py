"""The training of members side by side, in one program (deep ensembles, Lakshminarayanan 2017, arXiv:1612.01474)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, UInt32

from jnas._runtime import random
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.early_curve import EarlyCurveRidge
from jnas.predict._ensemble.network import init_networks, network_graph
from jnas.predict._ensemble.scaling import Rows


class _Member(NamedTuple):
    """What training reads of one member: its regression, its rows in random order, their number, and a seed."""

    ridge: EarlyCurveRidge
    order: jax.Array
    num_rows: jax.Array
    seed: jax.Array


def assign_folds(seed: UInt32[Array, " 2"], mask: Float[Array, " n"], config: EnsembleConfig) -> Float[Array, "m n"]:
    """Returns 1 where a member trains on a row, 0 where it leaves the row out or the row's mask is 0.

    Every `folds` members leave out each row once.
    """
    rounds = -(-config.members // config.folds)

    def folds_of(numbers):
        order = jnp.argsort(numbers + 2 * (1 - mask))
        return jnp.zeros(mask.shape, jnp.int32).at[order].set(jnp.arange(len(mask)) % config.folds)

    folds = jax.vmap(folds_of)(random.uniform(seed, 0, (rounds, len(mask))))
    member = jnp.arange(config.members)
    return (folds[member // config.folds] != (member % config.folds)[:, None]) * mask


def train_members(
    seeds: UInt32[Array, "m 3 2"],
    rows: Rows,
    targets: Float[Array, " n"],
    train_mask: Float[Array, "m n"],
    curve_ridge: EarlyCurveRidge,
    config: EnsembleConfig,
) -> nnx.State:
    """Returns the trained weights of all members, which learn what `curve_ridge` leaves of the transformed targets.

    The seeds of each member are for the order of rows, the initial weights, and what is dropped in training.
    `train_mask` is 1 where a member trains on a row.
    """
    num_features, num_epochs = rows.steps.shape[-1], rows.early.shape[-1]
    graph = network_graph(num_features, num_epochs, config)
    networks = init_networks(seeds[:, 1], num_features, num_epochs, config)
    # One flat vector a member keeps the optimiser's program small and quick to compile.
    weights = jax.vmap(lambda network: ravel_pytree(network)[0])(networks)
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], networks))[1]
    orders = _epoch_orders(seeds[:, 0], train_mask, config)
    members = _Member(curve_ridge, orders, train_mask.sum(1).astype(jnp.int32), seeds[:, 2])
    optimizer = _optimizer(config)

    def loss(weights, member, step):
        batch, num_observed, shown, seed = _draw_batch(rows, member, step, config)
        curve, residual_std, context = member.ridge.predict(rows.early[batch], num_observed)
        residual = nnx.merge(graph, unravel(weights))(shown, rows.lengths[batch], context, seed)
        wanted = (targets[batch] - curve) / residual_std
        return optax.huber_loss(residual, wanted, delta=config.huber_delta).mean()

    def update(weights, state, member, step):
        changes, state = optimizer.update(jax.grad(loss)(weights, member, step), state, weights)
        return optax.apply_updates(weights, changes), state

    def train_step(step, carry):
        weights, state = carry
        return jax.vmap(update, (0, 0, 0, None))(weights, state, members, step)

    weights, _ = jax.lax.fori_loop(0, config.num_steps, train_step, (weights, jax.vmap(optimizer.init)(weights)))
    return jax.vmap(unravel)(weights)


def _optimizer(config: EnsembleConfig) -> optax.GradientTransformation:
    warmup_fraction = max(0.15, 1 / config.num_steps)  # at least one step: old versions of optax divide by their number
    schedule = optax.cosine_onecycle_schedule(config.num_steps, config.learning_rate, pct_start=warmup_fraction)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=config.weight_decay))


def _epoch_orders(seeds: jax.Array, train_mask: jax.Array, config: EnsembleConfig) -> jax.Array:
    """`[members, epochs, N]`: for each pass of a member the rows in random order, those that it trains on first."""
    count = train_mask.shape[1]
    epochs = 2 + 2 * config.num_steps * config.batch_size // count
    numbers = jax.vmap(lambda seed: random.uniform(seed, 1, (epochs, count)))(seeds)
    return jnp.argsort(numbers + 2 * (1 - train_mask[:, None]), -1)


def _draw_batch(rows: Rows, member: _Member, step: jax.Array, config: EnsembleConfig) -> tuple[jax.Array, ...]:
    """The rows of a batch, how many epochs and which features of them are shown, and the seed of this step."""
    position = step * config.batch_size + jnp.arange(config.batch_size)
    epochs = len(member.order)
    batch = member.order[(position // member.num_rows) % epochs, position % member.num_rows]
    seed = member.seed ^ random.bits(member.seed, step, (2,))
    num_observed, shown = rows.num_observed[batch], rows.steps[batch]
    if rows.early.shape[1] and config.epoch_dropout:
        fewer = (random.uniform(seed, 2, num_observed.shape) * (num_observed + 1)).astype(num_observed.dtype)
        num_observed = jnp.where(random.uniform(seed, 3, fewer.shape) < config.epoch_dropout, fewer, num_observed)
    if config.input_dropout:
        shown *= random.uniform(seed, 4, (len(batch), 1, shown.shape[-1])) >= config.input_dropout
    return batch, num_observed, shown, seed
