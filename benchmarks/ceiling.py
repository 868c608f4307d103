"""What of a table of MetaQNN's nets is chance: some of them trained again, each under several seeds, in PyTorch.

    python benchmarks/ceiling.py --table FILE.csv --data PATH.npz --nets 12 --seeds 3 --json OUT.json

Random rows of the table are trained by its recipe (Baker et al. 2017, and their programs): 20 epochs of 45,000 images
of CIFAR-10 in batches of 128, mirrored by chance; Adam with an L2 penalty of 5e-4, at the learning rate of the row
first, and at a fifth of it after each fifth epoch. 5,000 other images are for validation. A run that has not got beyond
.15 in the first epoch does not count: it would have been given up. The scale of the pixels is a guess: they are divided
by 255, less their mean over the images, as nets then learn as fast as in the table (docs/decisions/010).

How far the last accuracies of a net differ from seed to seed, given those of the first epochs, is what remains of the
error of a predictor that knows everything else. `ceiling` estimates the R² that it leaves, where the first epochs tell
what a linear regression says; `without_epochs` is that of architectures alone. Both are of nets of at most
`--most-macs`, where that is given. Test images are not looked at.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import report, run
from tables import CLASSES, IMAGE, parse, read

from jnas import JnasError
from jnas.data import load_data

try:
    import torch
except ImportError:
    torch = None

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the memory is PyTorch's
BATCH = 128
EPOCHS = 20
THRESHOLD = 0.15
"""A run has to be better after the first epoch."""
NETS = 3
"""From fewer there is no telling how much nets differ."""


def network(net: str) -> torch.nn.Sequential:
    """A net in MetaQNN's notation, with Xavier's weights."""
    modules = []
    for layer in parse(net):
        match layer.name:
            case "C":
                window = {"stride": layer.stride, "padding": layer.window // 2}
                modules.append(torch.nn.Conv2d(layer.before[0], layer.after[0], layer.window, **window))
            case "P":
                modules.append(torch.nn.MaxPool2d(layer.window, layer.stride, ceil_mode=True))
            case "D":
                modules.append(torch.nn.Dropout(layer.dropout))
            case "GAP":
                modules.append(torch.nn.AvgPool2d(layer.window, 1))
            case "FC" | "SM":
                modules += [torch.nn.Flatten(), torch.nn.Linear(layer.fan_in, layer.after[0])]
        if layer.name in ("C", "FC"):
            modules.append(torch.nn.ReLU())
    for module in modules:
        if hasattr(module, "weight"):
            torch.nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")  # Caffe's "xavier": 1 / fan_in
            torch.nn.init.zeros_(module.bias)
    return torch.nn.Sequential(*modules)


def macs(net: str) -> int:
    """Multiply-accumulates of an image."""
    return sum(layer.macs for layer in parse(net))


class Images(NamedTuple):
    """Images `[N, 3, 32, 32]` and labels `[N]` on the device."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor


def load(source: str, device: str) -> Images:
    """Nine tenths of the training images to train on, in one random order, the others to validate on."""
    data = load_data(source)
    if data.in_shape != IMAGE or data.classes != CLASSES or len(data.y_train) < 2 * BATCH:
        raise JnasError(f"{data.name} is not {IMAGE} images of {CLASSES} classes, {2 * BATCH} or more: give CIFAR-10.")
    split = data.split(0.1)
    order = np.random.default_rng(0).permutation(len(split.y_train))
    x_train, x_val = (np.asarray(x, np.float32).transpose(0, 3, 1, 2) for x in (split.x_train, split.x_val))
    mean = x_train.mean(0)

    def ready(images, labels):
        x = torch.from_numpy((images - mean) / 255).to(device, memory_format=torch.channels_last)
        return x, torch.tensor(np.asarray(labels), device=device).long()

    return Images(*ready(x_train[order], np.asarray(split.y_train)[order]), *ready(x_val, split.y_val))


def train(net: str, rate: float, images: Images, seed: int, bfloat16: bool = False) -> list[float]:
    """Validation accuracies after each epoch; of the first one alone, where that was not enough."""
    torch.manual_seed(seed)
    device = images.x_train.device
    lower = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)  # products; sums and weights are float32
    model = network(net).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.2)
    count, steps, found = len(images.y_train), len(images.y_train) // BATCH, []
    rows = torch.arange(BATCH, device=device)
    for epoch in range(EPOCHS):
        model.train()
        for step in range(epoch * steps, (epoch + 1) * steps):
            batch = (step * BATCH + rows) % count  # in the same order in each pass, as Caffe reads them
            x = images.x_train[batch]
            x = torch.where(torch.rand(BATCH, 1, 1, 1, device=device) < 0.5, x, x.flip(3))
            optimizer.zero_grad()
            with lower:
                logits = model(x)
            torch.nn.functional.cross_entropy(logits.float(), images.y_train[batch]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad(), lower:
            said = torch.cat([model(x).argmax(1) for x in images.x_val.split(500)])
        found.append((said == images.y_val).float().mean().item())
        if found[0] <= THRESHOLD:
            break
    return found


def within(runs: list[np.ndarray], seen: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared differences of the last accuracies from the mean of their net, and degrees of freedom: `[nets]` each.

    Args:
      runs: `[seeds, epochs]` accuracies for each net.
      seen: from how many epochs they are foreseen first: by a regression, the same for all nets, on the last of these
        and their mean. The degrees of freedom that it takes are shared out.
    """
    together = np.concatenate([run - run.mean(0) for run in runs])
    target, freedom = together[:, -1], np.array([len(run) - 1.0 for run in runs])
    if seen:
        inputs = np.stack([together[:, seen - 1], together[:, :seen].mean(1)], 1)[:, : min(seen, 2)]
        target = target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
        freedom *= 1 - inputs.shape[1] / freedom.sum()
    ends = np.cumsum([len(run) for run in runs])
    return np.array([np.square(part).sum() for part in np.split(target, ends[:-1])]), freedom


def ceiling(runs: list[np.ndarray], seen: int, variance: float) -> dict:
    """The R² that chance leaves in a table of some variance, with a 90 % interval by drawing nets anew.

    Unlike `predictors.noise_ceiling` it takes nets with different numbers of runs, and epochs that are seen.
    """
    squares, freedom = within(runs, seen)
    error = squares.sum() / freedom.sum()
    drawn = np.random.default_rng(0).integers(len(runs), size=(1000, len(runs)))
    low, high = 1 - np.quantile(squares[drawn].sum(1) / freedom[drawn].sum(1), [0.95, 0.05]) / variance
    found = {"r2": 1 - error / variance, "r2_low": low, "r2_high": high, "std": error**0.5}
    return found | {"nets": len(runs), "degrees_of_freedom": round(freedom.sum())}


def evaluate(nets: list[dict], seen: int, variance: float) -> dict:
    """The ceilings from nets with two runs or more, as soon as there are three, with four runs more than nets."""
    several = [runs for runs in map(whole, nets) if len(runs) > 1]
    if len(several) < NETS or sum(map(len, several)) - len(several) < 4:
        return {}
    return {"ceiling": ceiling(several, seen, variance), "without_epochs": ceiling(several, 0, variance)}


def whole(net: dict) -> np.ndarray:
    """`[runs, epochs]` accuracies of those that were not given up."""
    return np.array([run for run in net["runs"] if len(run) == EPOCHS]).reshape(-1, EPOCHS)


def described(net: dict) -> str:
    """What came of a net, in a line."""
    runs = whole(net)[:, -1]
    found = f"{runs.mean():.3f} ± {runs.std(ddof=1):.3f}" if len(runs) > 1 else "not known"
    return (
        f"row {net['row']}: validation accuracy after epoch {EPOCHS} {found} ({len(runs)} of {len(net['runs'])} runs), "
        f"in the table {net['table'][-1]:.3f}; {net['seconds']:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="CSV file with columns net, lr, acc_1, ..., acc_20")
    parser.add_argument("--data", required=True, help="images, as jnas.load_data takes them")
    parser.add_argument("--nets", type=int, default=12, help="how many rows")
    parser.add_argument("--rows", type=int, nargs="+", help="these rows of the table instead, counted from 0")
    parser.add_argument("--most-macs", type=float, help="only rows of at most so many million MACs an image")
    parser.add_argument("--seeds", type=int, default=3, help="of each net, 2 or more")
    parser.add_argument("--epochs-seen", type=int, default=5, choices=range(EPOCHS), metavar=f"0..{EPOCHS - 1}")
    parser.add_argument("--minutes", type=float, help="start no net after so long")
    parser.add_argument("--bfloat16", action="store_true", help="products of half the bits: faster on most devices")
    parser.add_argument("--json", help="where to write everything, after each net")
    options = parser.parse_args()
    if torch is None:
        raise JnasError("The nets are trained by PyTorch, which is not installed: run 'pip install torch'.")
    if options.nets < 1 or options.seeds < 2:
        raise JnasError(f"{options.nets} nets under {options.seeds} seeds tell nothing: give 1 and 2, or more.")
    known = read(options.table, "acc_20", EPOCHS)
    table = pd.read_csv(options.table)
    if missing := {"net", "lr"} - set(table):
        raise JnasError(f"{options.table} has no column {min(missing)!r}: it has {', '.join(table)}.")
    counts = np.array([macs(net) for net in table.net])
    small = counts <= (np.inf if options.most_macs is None else 1e6 * options.most_macs)
    rows, variance = chosen(options, small), float(known.targets[small].var())
    images = load(options.data, "cuda" if torch.cuda.is_available() else "cpu")
    result = {"rows": int(small.sum()), "torch_device": str(images.x_train.device), "nets": []}
    report(result, options)  # where that fails, before anything is trained
    start = time.perf_counter()
    for row in rows:
        began = time.perf_counter()
        if options.minutes is not None and began - start > 60 * options.minutes:
            break
        net, rate = table.net[row], float(table.lr[row])
        runs = [train(net, rate, images, seed, options.bfloat16) for seed in range(options.seeds)]
        found = {"row": row, "net": net, "macs": int(counts[row]), "lr": rate, "runs": runs}
        found |= {"table": known.early[row].tolist(), "seconds": time.perf_counter() - began}
        print(described(found), flush=True)
        result["nets"].append(found)
        result |= evaluate(result["nets"], options.epochs_seen, variance)
        report(result, options)
    for name in ("ceiling", "without_epochs"):
        if name not in result:
            print(f"{name}: not known from so few runs")
            continue
        r = result[name]
        print(
            f"{name}: R² {r['r2']:.3f} ({r['r2_low']:.3f} to {r['r2_high']:.3f}), standard deviation {r['std']:.4f}, "
            f"{r['nets']} nets"
        )


def chosen(options: argparse.Namespace, small: np.ndarray) -> list[int]:
    """The rows to train: those that are asked for, or random ones of those that are small enough, `[rows]` bool."""
    if options.rows:
        if wrong := [row for row in options.rows if not 0 <= row < len(small)]:
            raise JnasError(f"There is no row {wrong[0]} in {options.table}: give 0 to {len(small) - 1}.")
        return list(dict.fromkeys(options.rows))
    if not small.any():
        raise JnasError(f"No net in {options.table} has {options.most_macs} million MACs or fewer: give more.")
    return np.random.default_rng(0).permutation(np.flatnonzero(small))[: options.nets].tolist()


if __name__ == "__main__":
    run(main)
