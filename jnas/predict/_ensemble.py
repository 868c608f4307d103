"""An ensemble of networks as pure functions: `fit` and `apply` can be jitted, and vmapped over repeats.

Each member leaves out one fold of the rows. So the rows that a member has not seen tell when to stop and how good the
ensemble is, and all members together tell how sure it is. They are trained side by side in one program
(Lakshminarayanan et al. 2017).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, struct
from jax.flatten_util import ravel_pytree

from jnas._runtime import random as draws
from jnas.predict import _target_transform as scaling
from jnas.predict._lstm import Network
from jnas.predict._target_transform import Baseline, Scale

_OTHERS = 10.0
"""How many rows of a kind count as much as those of all kinds together, see `_trusted`."""


class Settings(NamedTuple):
    """How the ensemble is made and trained; static under jit.

    Attributes:
      members: how many networks.
      folds: a member leaves out one of so many parts of the rows.
      hidden, head, directions, pooling, dropout: of each network, see `Network`.
      input_dropout: share of features that are hidden in all steps of a sequence while training.
      steps, batch: steps of the optimiser and rows of each.
      learning_rate, weight_decay: AdamW's (Loshchilov and Hutter 2019), on one cosine cycle.
      fewer: share of rows that are trained on as if fewer epochs had been seen than were.
      huber: standard deviations from which on errors count linearly (Huber 1964): training that failed is no rule.
        Half the squared error where it is 0.
      ranking: weight of the pairwise logistic loss (Burges et al. 2005) beside that.
      bend: whether skewed targets are made nearly normal first, where no early epochs are seen; these measure the
        same, which a bent scale would hide.
      checks: how often the left-out rows are looked at while training.
    """

    members: int = 10
    folds: int = 10
    hidden: int = 24
    head: int = 24
    directions: int = 2
    pooling: tuple[str, ...] = ("mean",)
    dropout: float = 0.2
    input_dropout: float = 0.1
    steps: int = 200
    batch: int = 64
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    fewer: float = 0.25
    huber: float = 1.0
    ranking: float = 0.1
    bend: bool = True
    checks: int = 10


@struct.dataclass
class Fitted:
    """A fitted ensemble: arrays, and its settings as static data.

    Attributes:
      networks: the members' weights, each with a leading dimension of members.
      mean, std: `[D]` of each feature over the steps that are there.
      scale: of the targets.
      baselines: each member's regression on the seen epochs.
      trust: `[E + 1]` the factor of the networks' part beside the seen epochs', for each number of these.
      stretch, noise: what makes the members' spread a standard deviation of errors: sqrt((stretch spread)^2 + noise^2).
      settings: those of `fit`.
    """

    networks: Any
    mean: jax.Array
    std: jax.Array
    scale: Scale
    baselines: Baseline
    trust: jax.Array
    stretch: jax.Array
    noise: jax.Array
    settings: Settings = struct.field(pytree_node=False)


def fit(
    key: jax.Array,
    sequences: jax.Array,
    lengths: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    early: jax.Array | None = None,
    settings: Settings = Settings(),  # noqa: B008  a constant
) -> tuple[Fitted, jax.Array]:
    """Trains an ensemble from scratch.

    Args:
      key: for initial weights, folds, batches and dropout.
      sequences: `[N, T, D]`.
      lengths: `[N]` steps that are there; the rest of each sequence is ignored.
      targets: `[N]`, in any unit.
      mask: `[N]` 1 for rows that are there, 0 for those that only fill up the shape; 10 or more must be there.
      early: `[N, E]` accuracies after the first epochs, NaN from where they are not known; None for E = 0.
      settings: static.

    Returns:
      The ensemble, and its prediction `[N]` of each row by members that have not seen it, NaN where all have.
    """
    sequences, lengths, targets, mask = map(jnp.asarray, (sequences, lengths, targets, mask))
    mask = mask.astype(jnp.float32)
    early = jnp.zeros((len(targets), 0)) if early is None else early
    seen = scaling.seen_epochs(early)
    early = jnp.nan_to_num(early)
    targets = jnp.where(mask > 0, targets, 0).astype(jnp.float32)
    scale = scaling.fit_scale(targets, mask, settings.bend and not early.shape[1])
    scaled = scaling.forth(scale, targets)
    there = (jnp.arange(sequences.shape[1]) < lengths[:, None])[..., None] * mask[:, None, None]
    width = sequences.shape[-1]
    mean, std = scaling.moments(
        sequences.reshape(-1, width).astype(jnp.float32), jnp.broadcast_to(there, sequences.shape).reshape(-1, width)
    )
    std = jnp.where(std > 1e-6, std, 1.0)
    steps = _standardised(sequences, mean, std)

    all_words = draws.words(key, (settings.members, 3))
    trained = _trained_rows(all_words[0, 0], mask, settings)
    held = mask - trained
    judged = mask * (held.sum(0) > 0)  # all rows, unless there are fewer members than folds
    baselines = jax.vmap(scaling.fit_baseline, (None, None, None, 0))(early, seen, scaled, trained)
    graph, networks = _initial(all_words[:, 1], width, early.shape[1], settings)
    # As one vector a member: the optimiser's program is then small, and quickly compiled.
    weights = jax.vmap(lambda network: ravel_pytree(network)[0])(networks)
    shaped = ravel_pytree(jax.tree.map(lambda x: x[0], networks))[1]
    counts = trained.sum(1).astype(jnp.int32)
    # Rows in an order of their own for each pass and member; those that it trains on come first.
    passes = 2 + 2 * settings.steps * settings.batch // len(targets) if len(targets) > 1 else 1
    shuffled = jax.vmap(lambda words: draws.uniform(words, 1, (passes, len(targets))))(all_words[:, 0])
    orders = jnp.argsort(shuffled + 2 * (1 - trained[:, None]), -1)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            optax.cosine_onecycle_schedule(settings.steps, settings.learning_rate, pct_start=0.15),
            weight_decay=settings.weight_decay,
        ),
    )

    def loss(weights, baseline, has_shortcut, order, count, step, words):
        place = step * settings.batch + jnp.arange(settings.batch)
        rows = order[(place // count) % passes, place % count]
        words = words ^ draws.bits(words, step, (2,))  # others for each step
        known = seen[rows]
        if early.shape[1] and settings.fewer:
            fewer = (draws.uniform(words, 2, known.shape) * (known + 1)).astype(known.dtype)
            known = jnp.where(draws.uniform(words, 3, known.shape) < settings.fewer, fewer, known)
        first, spread, context = scaling.context(baseline, early[rows], known)
        shown = steps[rows]
        if settings.input_dropout:
            shown *= draws.uniform(words, 4, (settings.batch, 1, width)) >= settings.input_dropout
        context = _with_shortcut(context, shown, lengths[rows], has_shortcut)
        left = nnx.merge(graph, shaped(weights))(shown, lengths[rows], context, words)
        wanted = (scaled[rows] - first) / spread
        errors = optax.huber_loss(left, wanted, delta=settings.huber) if settings.huber else optax.l2_loss(left, wanted)
        error = errors.mean()
        if not settings.ranking:
            return error
        apart = scaled[rows][:, None] - scaled[rows]
        predicted = first + spread * left
        said = predicted[:, None] - predicted
        weight = jnp.abs(apart)
        wrong = (jax.nn.softplus(-2 * said * jnp.sign(apart)) * weight).sum() / jnp.maximum(weight.sum(), 1e-6)
        return error + settings.ranking * wrong

    def one_step(weights, state, baseline, has_shortcut, order, count, words, step):
        gradient = jax.grad(loss)(weights, baseline, has_shortcut, order, count, step, words)
        update, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, update), state

    def rest_of(weights, baseline, has_shortcut):
        return _one(graph, shaped(weights), baseline, has_shortcut, steps, lengths, early, seen)[1]

    every = -(-settings.steps // settings.checks)
    have_shortcut = _have_shortcut(settings)

    def check(carry, start):
        weights, states, best, best_loss, bar = carry

        def train(i, inner):
            step = jax.vmap(one_step, (0, 0, 0, 0, 0, 0, 0, None))
            return step(*inner, baselines, have_shortcut, orders, counts, all_words[:, 2], start + i)

        weights, states = jax.lax.fori_loop(0, every, train, (weights, states))
        predicted = first + jax.vmap(rest_of)(weights, baselines, have_shortcut)
        squares = jnp.square(_held_out(predicted, held) - scaled) * judged
        mean_loss = squares.sum() / judged.sum()
        # The latest weights that are no worse than the best by more than its standard error: one fold is a noisy judge.
        keep = mean_loss <= bar
        best = jax.tree.map(lambda new, old: jnp.where(keep, new, old), (weights, predicted), best)
        error = jnp.sqrt((jnp.square(squares - mean_loss) * judged).sum()) / judged.sum()
        better = mean_loss < best_loss
        bar = jnp.where(better, mean_loss + error, bar)
        return (weights, states, best, jnp.minimum(best_loss, mean_loss), bar), None

    first = jax.vmap(lambda baseline: scaling.context(baseline, early, seen)[0])(baselines)
    states = jax.vmap(optimizer.init)(weights)
    nothing = jnp.zeros((settings.members, len(targets)))
    start = (weights, states, (weights, nothing), jnp.float32(jnp.inf), jnp.float32(jnp.inf))
    (_, _, (weights, predicted), _, _), _ = jax.lax.scan(check, start, jnp.arange(0, settings.checks) * every)

    rest = predicted - first
    # Fewer members have not seen a row than there are in all, so their mean scatters more than that of all.
    fewer = jnp.maximum(1 / jnp.maximum(held.sum(0), 1) - 1 / settings.members, 0)
    scatter = fewer * rest.var(0) * settings.members / max(settings.members - 1, 1)
    parts = _held_out(first, held), _held_out(rest, held), scatter
    trust = _trusted(scaled, *parts, seen, judged, early.shape[1])
    predicted = first + trust[seen] * rest
    members = scaling.back(scale, predicted)
    held_out = scaling.back(scale, _held_out(predicted, held))
    stretch, noise = _calibrated(held_out - targets, members.std(0), judged)
    held_out = jnp.where(judged > 0, held_out, jnp.nan)
    networks = jax.vmap(shaped)(weights)
    return Fitted(networks, mean, std, scale, baselines, trust, stretch, noise, settings), held_out


def apply(
    fitted: Fitted,
    sequences: jax.Array,
    lengths: jax.Array,
    early: jax.Array | None = None,
) -> jax.Array:
    """Each member's prediction, `[members, N]` in the targets' unit; the arguments are those of `fit`."""
    epochs = fitted.baselines.mean.shape[-1]
    early = jnp.full((len(sequences), epochs), jnp.nan) if early is None else early
    seen = scaling.seen_epochs(early)
    early = jnp.nan_to_num(early)
    sequences, lengths = jnp.asarray(sequences), jnp.asarray(lengths)
    steps = _standardised(sequences, fitted.mean, fitted.std)
    graph = _graph(sequences.shape[-1], epochs, fitted.settings)
    first, rest = jax.vmap(lambda *member: _one(graph, *member, steps, lengths, early, seen))(
        fitted.networks, fitted.baselines, _have_shortcut(fitted.settings)
    )
    return scaling.back(fitted.scale, first + fitted.trust[seen] * rest)


def part(fitted: Fitted, members: int) -> Fitted:
    """The first few members of an ensemble."""
    networks, baselines = jax.tree.map(lambda x: x[:members], (fitted.networks, fitted.baselines))
    return fitted.replace(networks=networks, baselines=baselines, settings=fitted.settings._replace(members=members))


def deviation(fitted: Fitted, members: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """The standard deviation of the error of the mean of predictions `[members, N]`: `[N]`.

    Of NumPy's arrays it is one of NumPy's, so that nothing is compiled for their shape.
    """
    stretch, noise = fitted.stretch, fitted.noise
    if isinstance(members, np.ndarray):
        stretch, noise = np.float32(stretch), np.float32(noise)
    return ((stretch * members.std(0)) ** 2 + noise**2) ** 0.5


def _network(width: int, epochs: int, settings: Settings, words: jax.Array) -> Network:
    shape = {name: getattr(settings, name) for name in ("hidden", "head", "directions", "pooling", "dropout")}
    return Network(width, 2 * epochs + 1 + (width if epochs else 0), **shape, words=words)


def _initial(words: jax.Array, width: int, epochs: int, settings: Settings) -> tuple[nnx.GraphDef, Any]:
    """The networks' common structure, and their initial weights, drawn from `[members, 2]` words."""

    def one(words):
        return nnx.state(_network(width, epochs, settings, words), nnx.Param)

    return _graph(width, epochs, settings), jax.vmap(one)(words)


def _graph(width: int, epochs: int, settings: Settings) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(lambda: _network(width, epochs, settings, jnp.zeros(2, jnp.uint32))), nnx.Param)[0]


def _have_shortcut(settings: Settings) -> jax.Array:
    """`[members]` 1 for every other member, whose head sees the features themselves, too, where epochs are seen.

    Members that differ are better together (benchmarks/RESULTS.md).
    """
    return jnp.arange(settings.members) % 2


def _with_shortcut(context: jax.Array, steps: jax.Array, lengths: jax.Array, has_shortcut: jax.Array) -> jax.Array:
    """A context `[N, C]` of seen epochs, and the largest value of each feature over the steps that are there."""
    if context.shape[1] == 1:  # no epochs
        return context
    there = (jnp.arange(steps.shape[1]) < lengths[:, None])[..., None]
    return jnp.concatenate([context, has_shortcut * jnp.where(there, steps, steps[:, :1]).max(1)], -1)


def _one(graph, network, baseline, has_shortcut, steps, lengths, early, seen) -> tuple[jax.Array, jax.Array]:
    """One member's prediction as a sum: what the seen epochs say, and the network's part, `[N]` each, scaled."""
    first, spread, context = scaling.context(baseline, early, seen)
    context = _with_shortcut(context, steps, lengths, has_shortcut)
    return first, spread * nnx.merge(graph, network)(steps, lengths, context)


def _standardised(sequences: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    return jnp.clip((sequences.astype(jnp.float32) - mean) / std, -5, 5)


def _trained_rows(words: jax.Array, mask: jax.Array, settings: Settings) -> jax.Array:
    """`[members, N]`: 1 where a member trains on a row. Every `folds` members leave out each row once."""
    rounds = -(-settings.members // settings.folds)

    def folds_of(shuffled):
        order = jnp.argsort(shuffled + 2 * (1 - mask))
        return jnp.zeros(mask.shape, jnp.int32).at[order].set(jnp.arange(len(mask)) % settings.folds)

    folds = jax.vmap(folds_of)(draws.uniform(words, 0, (rounds, len(mask))))
    member = jnp.arange(settings.members)
    return (folds[member // settings.folds] != (member % settings.folds)[:, None]) * mask


def _held_out(predicted: jax.Array, held: jax.Array) -> jax.Array:
    """The mean of predictions `[members, N]` over the members that hold a row out."""
    return (predicted * held).sum(0) / jnp.maximum(held.sum(0), 1)


def _trusted(targets, first, rest, scatter, seen, mask, epochs) -> jax.Array:
    """The factors of the networks' parts `rest` that leave least squared error on held-out rows, `[epochs + 1]`.

    By the number of seen epochs: beside many the architecture adds little, and its noise more. Few rows of a kind
    are helped by those of all kinds. `scatter` is how much of the squares of `rest` more members would average out.
    """
    left = targets - first

    def factor(weight):
        together = (weight * left * rest).sum() / jnp.maximum((weight * (rest * rest - scatter)).sum(), 1e-9)
        return jnp.clip(together, 0, 1)

    kinds = (seen == jnp.arange(epochs + 1)[:, None]) * mask
    total = jnp.maximum(kinds.sum(1, keepdims=True), 1)
    return jax.vmap(factor)((kinds + _OTHERS * mask / mask.sum()) / total)


def _calibrated(errors: jax.Array, spread: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The stretch and noise under which held-out errors `[N]` are likeliest, by a grid."""
    total = jnp.sqrt((jnp.square(errors) * mask).sum() / mask.sum())
    typical = jnp.maximum(jnp.sqrt((jnp.square(spread) * mask).sum() / mask.sum()), 1e-12)
    # How much of the error's variance follows the spread, from none to nearly all.
    parts = jnp.linspace(0.0, 0.95, 20)

    def likelihood(part):
        variance = jnp.square(total) * (part * jnp.square(spread / typical) + 1 - part)
        return -(mask * (jnp.log(variance) + jnp.square(errors) / variance)).sum()

    part = parts[jnp.argmax(jax.vmap(likelihood)(parts))]
    return total * jnp.sqrt(part) / typical, total * jnp.sqrt(1 - part)


apply_jitted = jax.jit(apply)


def blank(width: int, epochs: int, settings: Settings) -> Fitted:
    """An ensemble that knows nothing: the shapes of a fitted one."""
    members = settings.members
    _, networks = _initial(jnp.zeros((members, 2), jnp.uint32), width, epochs, settings)
    number, features = jnp.float32(0), jnp.zeros(width)
    baselines = Baseline(
        mean=jnp.zeros((members, epochs)),
        std=jnp.zeros((members, epochs)),
        slopes=jnp.zeros((members, epochs + 1, epochs)),
        offset=jnp.zeros((members, epochs + 1)),
        spread=jnp.zeros((members, epochs + 1)),
        usable=jnp.zeros((members, epochs + 1), jnp.int32),
    )
    trust = jnp.zeros(epochs + 1)
    return Fitted(networks, features, features, Scale(*[number] * 7), baselines, trust, number, number, settings)


def to_tree(fitted: Fitted) -> dict[str, Any]:
    """The arrays as nested dictionaries, for a checkpoint."""
    return {
        "networks": nnx.to_pure_dict(fitted.networks),
        "inputs": {"mean": fitted.mean, "std": fitted.std},
        "scale": fitted.scale._asdict(),
        # Orbax writes no array without elements, which those of no epochs are.
        "baselines": {name: array for name, array in fitted.baselines._asdict().items() if array.size},
        "calibration": {"trust": fitted.trust, "stretch": fitted.stretch, "noise": fitted.noise},
    }


def from_tree(like: Fitted, tree: dict[str, Any]) -> Fitted:
    """The ensemble of `to_tree`; `like` has its shapes."""
    networks = like.networks
    nnx.replace_by_pure_dict(networks, tree["networks"])
    empty = {name: jnp.zeros(array.shape, array.dtype) for name, array in like.baselines._asdict().items()}
    return Fitted(
        networks,
        **tree["inputs"],
        scale=Scale(**tree["scale"]),
        baselines=Baseline(**(empty | tree["baselines"])),
        **tree["calibration"],
        settings=like.settings,
    )
