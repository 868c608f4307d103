"""What no predictor of a table of MetaQNN's nets can foresee: some of them trained again, each under several seeds.

    python benchmarks/ceiling.py --table FILE.csv --data PATH.npz --nets 12 --seeds 3 --json OUT.json

Random rows of the table are trained as they were (Baker et al. 2017, and their programs): 20 epochs of 45,000 images of
CIFAR-10 in batches of 128, mirrored by chance; Adam with an L2 penalty of 5e-4, at the learning rate of the row first,
and at a fifth of it after each fifth epoch. 5,000 other images are for validation. Pixels are from 0 to 1, less
their mean over the images: of the scales tried, the one with which nets learn as fast as in the table. A run that has
not reached .15 after the first epoch does not count: it would have been given up.

How far the last accuracies of a net differ from seed to seed, given those of the first epochs, is what remains of the
error of a predictor that knows everything else. `ceiling` is the R² that it leaves, `without_epochs` that of
architectures alone; both for nets of at most `--most-macs`. Test images are not looked at.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from typing import NamedTuple

import numpy as np
import pandas as pd
from common import about, run_program
from tables import IMAGE, parse, read, side_after

try:
    import torch
except ImportError:
    torch = None

from jnas import JnasError
from jnas.data import load_data

BATCH = 128
EPOCHS = 20
TRIED = 0.15
"""What a run has to reach in the first epoch."""


def network(net: str) -> tuple[torch.nn.Sequential, int]:
    """A net in MetaQNN's notation with Xavier's weights, and its multiply-accumulates of an image."""
    channels, side, macs, modules = IMAGE[0], IMAGE[1], 0, []
    for name, args in parse(net):
        before = side
        side = side_after(name, args, side)
        if name in ("C", "GAP"):
            width, window = args[0], args[1] if name == "C" else 1
            modules += [torch.nn.Conv2d(channels, width, window, padding=window // 2), torch.nn.ReLU()]
            macs += before * before * window * window * channels * width
            channels = width
        if name == "GAP":
            modules.append(torch.nn.AdaptiveAvgPool2d(1))
        elif name == "P":
            modules.append(torch.nn.MaxPool2d(*args, ceil_mode=True))
        elif name == "D":
            modules.append(torch.nn.Dropout(args[0] / (2 * args[1])))
        elif name in ("FC", "SM"):
            inputs, channels = channels * before * before, args[0]
            modules += [torch.nn.Flatten(), torch.nn.Linear(inputs, channels)]
            modules += [torch.nn.ReLU()] if name == "FC" else []
            macs += inputs * channels
    for module in modules:
        if hasattr(module, "weight"):
            limit = (3 / module.weight[0].numel()) ** 0.5
            torch.nn.init.uniform_(module.weight, -limit, limit)
            torch.nn.init.zeros_(module.bias)
    return torch.nn.Sequential(*modules), macs


def macs(net: str) -> int:
    """Multiply-accumulates of an image."""
    with torch.device("meta"):
        return network(net)[1]


class Images(NamedTuple):
    """Images `[N, 3, 32, 32]` and labels `[N]` on the device."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor


def load(source: str, device: str) -> Images:
    """Nine tenths of the training images to train on, the others to validate on."""
    split = load_data(source).split(0.1)
    x_train, x_val = (np.asarray(x, np.float32).transpose(0, 3, 1, 2) for x in (split.x_train, split.x_val))
    mean = x_train.mean(0)

    def ready(images, labels):
        x = torch.from_numpy((images - mean) / 255).to(device, memory_format=torch.channels_last)
        return x, torch.tensor(np.asarray(labels), device=device).long()

    return Images(*ready(x_train, split.y_train), *ready(x_val, split.y_val))


def train(net: str, rate: float, images: Images, seed: int) -> list[float]:
    """Validation accuracies after each epoch; of the first one alone, where that was not enough."""
    torch.manual_seed(seed)
    model = network(net)[0].to(images.x_train.device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.2)
    count, steps, found = len(images.y_train), len(images.y_train) // BATCH, []
    rows = torch.arange(BATCH, device=images.x_train.device)
    for epoch in range(EPOCHS):
        model.train()
        for step in range(epoch * steps, (epoch + 1) * steps):
            batch = (step * BATCH + rows) % count  # one pass after the other, unshuffled
            x = images.x_train[batch]
            x = torch.where(torch.rand(BATCH, 1, 1, 1, device=x.device) < 0.5, x, x.flip(3))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), images.y_train[batch]).backward()
            optimizer.step()
        schedule.step()
        model.eval()
        with torch.no_grad():
            said = torch.cat([model(x).argmax(1) for x in images.x_val.split(500)])
        found.append((said == images.y_val).float().mean().item())
        if found[0] <= TRIED:
            break
    return found


def within(runs: list[np.ndarray], seen: int) -> tuple[np.ndarray, int]:
    """Squared differences `[nets]` of the last accuracies from the mean of their net, and degrees of freedom.

    Args:
      runs: `[seeds, epochs]` accuracies for each net.
      seen: from how many epochs they are foreseen first: by a regression on the last of these and their mean.
    """
    centred = [run - run.mean(0) for run in runs]
    together = np.concatenate(centred)
    target, freedom = together[:, -1], len(together) - len(runs)
    if seen:
        inputs = np.stack([together[:, seen - 1], together[:, :seen].mean(1)], 1)[:, : min(seen, 2)]
        target = target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]
        freedom -= inputs.shape[1]
    ends = np.cumsum([len(run) for run in runs])
    return np.array([np.square(part).sum() for part in np.split(target, ends[:-1])]), freedom


def ceiling(runs: list[np.ndarray], seen: int, variance: float) -> dict:
    """The R² that chance leaves in a table of some variance, with a 90 % interval by drawing nets anew."""
    rng = np.random.default_rng(0)
    draws = [within([runs[i] for i in rng.integers(len(runs), size=len(runs))], seen) for _ in range(1000)]
    squares, freedom = within(runs, seen)
    error = squares.sum() / freedom
    found = 1 - np.array([squares.sum() / freedom for squares, freedom in draws]) / variance
    low, high = np.quantile(found, [0.05, 0.95])
    return {
        "r2": 1 - error / variance,
        "r2_low": low,
        "r2_high": high,
        "std": error**0.5,
        "degrees_of_freedom": freedom,
    }


def evaluate(nets: list[dict], seen: int, variance: float) -> dict:
    """The ceilings from nets with at least two runs, as soon as there are four more runs than nets."""
    several = [runs for runs in map(whole, nets) if len(runs) > 1]
    if sum(map(len, several)) - len(several) < 4:
        return {}
    return {"ceiling": ceiling(several, seen, variance), "without_epochs": ceiling(several, 0, variance)}


def whole(net: dict) -> np.ndarray:
    """`[runs, epochs]` accuracies of those that were not given up."""
    return np.array([run for run in net["runs"] if len(run) == EPOCHS]).reshape(-1, EPOCHS)


def described(net: dict) -> str:
    """What came of a net, in a line."""
    runs = whole(net)[:, -1]
    found = f"{runs.mean():.3f} ± {runs.std(ddof=1):.3f}" if len(runs) > 1 else "unknown"
    return (
        f"row {net['row']}: validation accuracy after epoch {EPOCHS} {found} ({len(runs)} runs), in the table "
        f"{net['table'][-1]:.3f}; {net['seconds']:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, help="CSV file with columns net, lr, acc_1, ..., acc_20")
    parser.add_argument("--data", required=True, help="images, as jnas.load_data takes them")
    parser.add_argument("--nets", type=int, default=12, help="how many rows")
    parser.add_argument("--rows", type=int, nargs="+", help="these rows of the table instead, counted from 0")
    parser.add_argument("--most-macs", type=float, default=np.inf, help="of an image, in millions")
    parser.add_argument("--seeds", type=int, default=3, help="of each net")
    parser.add_argument("--epochs-seen", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=np.inf, help="start no net after so long")
    parser.add_argument("--json", help="where to write everything, after each net")
    options = parser.parse_args()
    if torch is None:
        raise JnasError("The nets are trained by PyTorch, which is not installed: run 'pip install torch'.")
    known = read(options.table, "acc_20", EPOCHS)
    table = pd.read_csv(options.table)
    if missing := {"net", "lr"} - set(table):
        raise JnasError(f"{options.table} has no column {min(missing)!r}: it has {', '.join(table)}.")
    if wrong := [row for row in options.rows or () if not 0 <= row < len(table)]:
        raise JnasError(f"There is no row {wrong[0]} in {options.table}: give 0 to {len(table) - 1}.")
    small = np.flatnonzero([macs(net) <= 1e6 * options.most_macs for net in table.net])
    rows = options.rows or np.random.default_rng(0).permutation(small)[: options.nets].tolist()
    images = load(options.data, "cuda" if torch.cuda.is_available() else "cpu")
    result = {"about": about() | {"arguments": vars(options), "validation": len(images.y_val)}, "nets": []}
    start = time.perf_counter()
    for row in rows:
        began = time.perf_counter()
        if began - start > 60 * options.minutes:
            break
        net, rate = table.net[row], float(table.lr[row])
        runs = [train(net, rate, images, seed) for seed in range(options.seeds)]
        found = {"row": row, "net": net, "macs": macs(net), "lr": rate, "runs": runs}
        found |= {"table": known.early[row].tolist(), "seconds": time.perf_counter() - began}
        print(described(found), flush=True)
        result["nets"].append(found)
        result |= evaluate(result["nets"], options.epochs_seen, float(known.targets.var()))
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(result, indent=1))
    for name in {"ceiling", "without_epochs"} & set(result):
        r = result[name]
        print(f"{name}: R² {r['r2']:.3f} ({r['r2_low']:.3f} to {r['r2_high']:.3f}), deviation {r['std']:.4f}")


if __name__ == "__main__":
    run_program(main)
