"""Tables of architectures with accuracies, as sequences: a column `hash`, a column `net`, or columns `gene_*`."""

from __future__ import annotations

import pathlib
import re
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from jnas.errors import JnasError
from jnas.space import (
    BITS_PER_LAYER,
    FEATURE_NAMES,
    LAYER_TYPES,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    LayerBatch,
    Linear,
    MaxPool2d,
    ReLU,
    Template,
    featurize,
    layer_features,
    to_genome,
)

IMAGE = (3, 32, 32)
CLASSES = 10
TYPES = ("C", "P", "D", "FC", "GAP", "A")  # A: an activation, which MetaQNN does not write down


class Table(NamedTuple):
    """What the models learn from.

    Attributes:
      sequences: `[N, T, D]`: the bits, and what follows from them.
      bits: `[N, T, B]`: one-hot types and parameters alone, as the original sees layers.
      lengths: `[N]` steps that are there.
      targets: `[N]`.
      scored: `[N]`: what predictions are compared with; the targets, unless the table has several seeds.
      early: `[N, K]` accuracies after the first epochs.
      notes: what was made of the table, in words.
    """

    sequences: np.ndarray
    bits: np.ndarray
    lengths: np.ndarray
    targets: np.ndarray
    scored: np.ndarray
    early: np.ndarray
    notes: str


def read(path: str | pathlib.Path, target: str | None = None, epochs: int = 0, against: str | None = None) -> Table:
    """The table of a CSV file.

    Args:
      path: the file.
      target: the column to learn; by default the first there is of val_acc, acc_20, reward.
      epochs: how many early epochs are seen, from columns `acc_1`, `acc_2`, ...
      against: the column that predictions are compared with; by default `test`, where there is one, else the target.

    Raises:
      JnasError: the file is no table, or has no such columns of numbers.
    """
    try:
        frame = pd.read_csv(path, dtype={"hash": str})
    except (OSError, ValueError) as error:
        raise JnasError(f"{path} cannot be read as a table of comma-separated values: {str(error).strip()}.") from None
    if frame.empty:
        raise JnasError(f"{path} has no rows.")
    if {"hash", "seed"} <= set(frame):  # a template under several seeds is one row
        good = frame[frame.status == "ok"] if "status" in frame else frame
        frame = good.groupby("hash", sort=False).mean(numeric_only=True).reset_index()
    target = target or next((name for name in ("val_acc", "acc_20", "reward") if name in frame), "val_acc")
    against = against or ("test" if "test" in frame else target)
    wanted = [target, against, *(f"acc_{i}" for i in range(1, epochs + 1))]
    wanted += ["lr"] if epochs and "lr" in frame else []
    for name in wanted:
        if name not in frame:
            raise JnasError(f"{path} has no column {name!r}: it has {', '.join(frame.columns)}.")
        wrong = frame[name][pd.to_numeric(frame[name], errors="coerce").isna() & frame[name].notna()]
        if len(wrong):
            raise JnasError(f"Column {name!r} of {path} holds {wrong.iloc[0]!r}, which is no number.")
    genes = [name for name in frame if re.fullmatch(r"gene_\d+", name)]
    if "hash" in frame:
        sequences, lengths, notes = _hashes(frame.hash)
        bits = sequences[..., :BITS_PER_LAYER]
    elif "net" in frame:
        sequences, bits, lengths, notes = _nets(frame, epochs > 0)
    elif genes:
        sequences, bits, lengths, notes = _genes(frame[sorted(genes, key=lambda name: int(name[5:]))].to_numpy())
    else:
        raise JnasError(f"{path} has no column hash or net and no columns gene_*: it has {', '.join(frame.columns)}.")
    early = frame[[f"acc_{i}" for i in range(1, epochs + 1)]].to_numpy(np.float32)
    values = frame[target].to_numpy(float), frame[against].to_numpy(float)
    if max(map(np.max, values)) > 1:  # percents: the models get shares
        values, early = tuple(value / 100 for value in values), early / 100
    return Table(sequences, bits, lengths, *values, early, notes)


def _hashes(hashes) -> tuple[np.ndarray, np.ndarray, str]:
    templates = [Template.from_hash(hash, IMAGE, CLASSES) for hash in hashes]
    lengths = np.array([len(template.layers) - 1 for template in templates])
    genomes = jnp.stack([to_genome(template, int(lengths.max())) for template in templates])
    return np.asarray(featurize(genomes, IMAGE, CLASSES)), lengths, f"32 bits and {len(FEATURE_NAMES)} facts a layer"


def _genes(genes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """A step for each gene: its value and its place, both one-hot."""
    values = np.unique(genes)
    bits = (genes[..., None] == values).astype(np.float32)
    places = np.broadcast_to(np.eye(genes.shape[1], dtype=np.float32), (*genes.shape, genes.shape[1]))
    lengths = np.full(len(genes), genes.shape[1])
    return np.concatenate([bits, places], -1), bits, lengths, f"a step a gene: {len(values)} values, its place"


class Layer(NamedTuple):
    """A layer of a net in the notation of MetaQNN.

    Attributes:
      name: C, P, D, FC, GAP or SM.
      window, stride: of convolutions and poolings; 1 elsewhere.
      before, after: channels and side of the maps that it gets and gives; a vector of N features is (N, 1).
      fan_in: inputs of each output of C, FC and SM; 0 elsewhere.
      dropout: rate of D; 0 elsewhere.
    """

    name: str
    window: int
    stride: int
    before: tuple[int, int]
    after: tuple[int, int]
    fan_in: int
    dropout: float

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image."""
        return self.fan_in * self.after[0] * self.after[1] ** 2


def parse(net: str) -> list[Layer]:
    """The layers of a network in the notation of MetaQNN (Baker et al. 2017), such as "[C(64,3,1), P(2,2), SM(10)]".

    C(channels, window, stride) is a padded convolution, P(window, stride) a max pooling, D(i, n) dropout at the rate
    i / (2 n), FC(units) a hidden linear layer, SM(classes) the last one. GAP(classes) is a 1x1 convolution, which is a
    layer of its own here, and an average pooling.

    Sides are those of Caffe, which trained the nets. Its poolings are not padded, and their last window may stick out,
    which the authors' programs (and `num_params` in their table) do not count on: so the window of GAP, meant to be the
    whole map, may be a pixel smaller, and leave 2x2 averages.

    Raises:
      JnasError: a layer is none of these, or its window does not fit.
    """
    steps = [(name, [int(x) for x in args.split(",")]) for name, args in re.findall(r"([A-Za-z]+)\(([\d, ]+)\)", net)]
    arguments = {"C": 3, "P": 2, "D": 2, "FC": 1, "GAP": 1, "SM": 1}
    wrong = [name for name, args in steps if arguments.get(name) != len(args) or min(args) < 1]
    wrong += [name for name, args in steps if name == "C" and args[1:2] and args[1] % 2 == 0]  # padded on both sides
    if wrong or not steps:
        raise JnasError(f"{net!r} is no network in the notation of MetaQNN: {wrong[0] if wrong else 'no layer'}.")
    shape, counted, found = IMAGE[:2], IMAGE[1], []
    for name, args in steps:
        if name == "GAP":
            found.append(Layer("C", 1, 1, shape, (args[0], shape[1]), shape[0], 0.0))
            shape = found[-1].after
        (channels, side), window, stride, fan_in, dropout = shape, 1, 1, 0, 0.0
        if name == "C":
            channels, window, stride = args
            fan_in, side = window * window * shape[0], -(-side // stride)
        elif name == "P":
            window, stride = args
            if window > counted:
                raise JnasError(f"{net!r} pools {window} pixels where the map has {counted}: it is no net of MetaQNN.")
            side, counted = -(-(side - window) // stride) + 1, (counted - window) // stride + 1
        elif name == "D":
            dropout = args[0] / (2 * args[1])
        elif name == "GAP":
            window, side, counted = counted, side - counted + 1, 1
        else:
            channels, side, counted, fan_in = args[0], 1, 1, shape[0] * side * side
        found.append(Layer(name, window, stride, shape, (channels, side), fan_in, dropout))
        shape = found[-1].after
    return found


def _nets(frame: pd.DataFrame, with_rate: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Rows as `Space.encode` makes them, and bits, of nets on 3x32x32 images; the last linear layer is left out.

    Their parameters are not those of templates, so they have no bits for these, but the facts say the same. Beside
    early epochs the learning rate of the run is a feature of each step, in place of the first parameter: it is known
    after the first epoch, as runs that have learned nothing by then start again with a lower one.
    """
    rows = [
        [(TYPES.index(x.name), x.window, x.stride, *x.before, *x.after, x.dropout) for x in with_activations(net)]
        for net in frame.net
    ]
    lengths = np.array([len(layers) for layers in rows])
    data = np.zeros((len(rows), lengths.max(), 8))
    for row, layers in zip(data, rows, strict=True):
        row[: len(layers)] = layers
    there = np.arange(lengths.max()) < lengths[:, None]
    kind, window, stride, channels_before, side_before, channels, side, dropout = np.moveaxis(data, -1, 0)
    parts = [there & (kind == i) for i in range(len(TYPES))]
    convolves, pools, _, links, merges, _ = parts
    classes = (Conv2d, MaxPool2d, Dropout, Linear, GlobalAvgPool2d, ReLU)  # of TYPES
    types = np.array([LAYER_TYPES.index(cls) for cls in classes])[kind.astype(int)]
    chain = LayerBatch(
        layer_type=np.where(there, 1 + types, 0),
        before=np.stack([channels_before, side_before, side_before], -1),
        after=np.stack([channels, side, side], -1),
        window=np.where(there & ~merges, window, 1),
        stride=np.where(there, stride, 1),
        padding=convolves.astype(float),
        slope=np.zeros_like(kind),
        dropout=dropout,
    )
    for column, of in ((channels, convolves | links), (window, convolves | pools), (stride, convolves | pools)):
        parts += [of & (column == value) for value in np.unique(column[of])]
    bits = np.stack(parts, -1).astype(np.float32)
    layers = np.zeros((*there.shape, BITS_PER_LAYER), np.float32)
    layers[..., : len(LAYER_TYPES)] = np.eye(len(LAYER_TYPES))[types] * there[..., None]
    notes = f"types and {len(FEATURE_NAMES)} facts a layer; {bits.shape[-1]} bits"
    if "lr" in frame and with_rate:
        rate = np.log10(frame.lr.to_numpy(np.float32))[:, None]
        layers[..., len(LAYER_TYPES)] = np.where(there, rate, 0)
        notes += ", and the learning rate of the run"
    sequences = [layers, np.asarray(layer_features(chain, IMAGE[1]))]
    return np.concatenate(sequences, -1).astype(np.float32), bits, lengths, notes


def with_activations(net: str) -> list[Layer]:
    """The layers of a net but the last one, with an activation after each convolution and hidden linear layer."""
    found = []
    for layer in parse(net)[:-1]:
        found.append(layer)
        if layer.name in ("C", "FC"):
            found.append(Layer("A", 1, 1, layer.after, layer.after, 0, 0.0))
    return found
