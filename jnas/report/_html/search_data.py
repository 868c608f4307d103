"""All that the page shows of one search, as values that JSON has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jnas.errors import JnasError
from jnas.report._html.features import FEATURES, LOG_FEATURES, explain, template_features
from jnas.report._html.made import describe_making
from jnas.report._html.statistics import improvements, seconds_of, select_rows, standard_error
from jnas.report._html.winner_facts import facts_path, read_facts
from jnas.space import Template, board_needs, describe_chain, draw_template, template_blocks
from jnas.store import SearchRows, Store, paths, read_curves, read_search

MOST_ROWS = 1000
"""Rows of a search that are shown, about; more make a page slow and large."""
_COLUMNS = {
    **dict.fromkeys(("hash", "phase", "generation", "status", "params", "macs")),
    **{"val_acc_final": 5, "train_acc_final": 5, "predicted_mean": 5, "latency_ms": 4},
    **{"seconds": 2, "compile_seconds": 2, "train_seconds": 2},
}
"""Of a row, and how many decimals they have on the page."""


class _Described(NamedTuple):
    """What follows from a template."""

    blocks: list
    """Of each its kind's initial, the side of its map in pixels, and its channels."""
    features: list[float]
    board: dict[str, int]


class SearchPage:
    """What the page shows of one search; what follows from a template is computed once, however often it is read.

    Args:
      store: where the search keeps its rows.
      experiment_id: the search.
      most_rows: rows to show, about.
    """

    def __init__(self, store: Store, experiment_id: str, most_rows: int = MOST_ROWS) -> None:
        self.store, self.experiment_id, self.most_rows = store, experiment_id, most_rows
        self._templates: dict[str, _Described | None] = {}  # by hash

    def read(self) -> dict[str, Any]:
        """Returns what the page shows of the search as it is now; raises a `JnasError` if it cannot be read."""
        found = read_search(self.store, self.experiment_id)
        rows, experiment = found.rows.copy(), found.experiment
        rows["seconds"] = seconds_of(rows, experiment["started_at"])
        winner = experiment["winner_hash"] if isinstance(experiment["winner_hash"], str) else None
        is_shown = select_rows(rows, self.most_rows, {winner} if winner else set())
        shown = rows.loc[is_shown].reset_index(drop=True)
        epochs = read_curves(self.store, pd.concat([shown, found.finals]))
        num_val = int(experiment["num_val"]) if pd.notna(experiment["num_val"]) else None
        good = rows.loc[(rows.status == "ok") & rows.val_acc_final.notna()]
        in_shape = tuple(int(side) for side in experiment["in_shape"].split("x"))
        known = {hash: self._describe(hash, in_shape, int(experiment["num_classes"])) for hash in shown.hash}
        return {
            "id": self.experiment_id,
            "counts": _counts(rows, shown),
            "num_val": num_val,
            "seconds": float(experiment["seconds"]) if pd.notna(experiment["seconds"]) else None,
            "summary": self._summary(good, winner, found, num_val, in_shape),
            "rows": _columns(shown) | _board_columns(shown, known),
            "steps": _steps(rows, num_val),
            "phases": _phases(good),
            "blocks": {hash: value.blocks for hash, value in known.items() if value},
            "curves": _curves(epochs, found),
            "predictions": _predictions(good),
            "generations": _records(
                _thin(found.generations, self.most_rows), ("generation", "phase", "kendall_tau", "num_trained")
            ),
            "features": _features(shown, known),
            "failures": _failures(rows),
            "facts": self._facts(found, winner),
            "made": describe_making(found, rows),
        }

    def _describe(self, hash: str, in_shape: tuple[int, ...], classes: int) -> _Described | None:
        """What follows from a template; None for a hash that is none, as in a store that was edited."""
        if hash not in self._templates:
            try:
                template = Template.from_hash(hash, in_shape, classes)
                blocks = [[b.kind[0], max(b.shape[1:], default=1), b.shape[0]] for b in template_blocks(template)]
                self._templates[hash] = _Described(blocks, template_features(template), board_needs(template))
            except JnasError:
                self._templates[hash] = None
        return self._templates[hash]

    def _summary(
        self, good: pd.DataFrame, winner: str | None, found: SearchRows, num_val: int | None, in_shape: tuple[int, ...]
    ) -> dict[str, Any]:
        """The best, the best known network, both as they were promoted, and the winner with its longer training."""
        if good.empty:
            return {"best": None, "known": None, "promoted": None, "winner": None}
        best = good.loc[good.val_acc_final.idxmax()]
        known = good[good.phase == "known"]
        known = known.loc[known.val_acc_final.idxmax()] if len(known) else None
        chosen = good[good.hash == winner]
        shown = chosen.iloc[0] if len(chosen) else best
        classes = int(found.experiment["num_classes"])
        template = Template.from_hash(shown.hash, in_shape, classes)

        def known_row(row: pd.Series) -> dict[str, Any]:
            return _row(row, num_val) | {"chain": describe_chain(Template.from_hash(row.hash, in_shape, classes))}

        promoted = good.merge(found.promotions, on="hash", suffixes=("_short", ""))
        rivals, same = promoted[promoted.phase == "known"], promoted[promoted.hash == shown.hash]
        is_compared = bool(len(rivals) and len(same))
        return {
            "best": _row(best, num_val),
            "known": None if known is None else known_row(known),
            "promoted": {
                "best": _row(same.iloc[0], num_val),
                "known": known_row(rivals.loc[rivals.val_acc_final.idxmax()]),
            }
            if is_compared
            else None,
            "winner": _row(shown, num_val)
            | {
                "is_chosen": bool(len(chosen)),
                "drawing": draw_template(template),
                "layers": str(template).splitlines(),
                "finals": _records(found.finals, ("status", "seed", "val_acc_final", "test_acc_final", "recipe_id")),
                "final_epochs": found.final_recipe.get("epochs"),
            },
        }

    def _facts(self, found: SearchRows, winner: str | None) -> dict[str, Any] | None:
        if winner is None or found.finals.empty:
            return None
        folder = paths.checkpoint_dir(self.store.path, self.experiment_id)
        return read_facts(facts_path(Path(paths.winner_dir(folder, found.finals.recipe_id[0], winner))))


def _row(row: pd.Series, num_val: int | None) -> dict[str, Any]:
    names = ("hash", "phase", "val_acc_final", "params", "macs", "latency_ms", "seconds")
    values = {name: row[name] for name in names}
    return values | {"error": standard_error(float(row.val_acc_final), num_val)}


def _columns(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        name: (rows[name] if digits is None else rows[name].astype(float).round(digits)).to_list()
        for name, digits in _COLUMNS.items()
    }


def _board_columns(rows: pd.DataFrame, known: dict[str, _Described | None]) -> dict[str, list[int | None]]:
    found = [known[hash] for hash in rows.hash]
    return {name: [one and one.board[name] for one in found] for name in ("memory_bytes", "flash_bytes")}


def _records(table: pd.DataFrame, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [dict(zip(names, values, strict=True)) for values in table[list(names)].itertuples(index=False)]


def _thin(table: pd.DataFrame, most: int) -> pd.DataFrame:
    return table.iloc[:: -(-len(table) // most)] if len(table) > most else table


def _counts(rows: pd.DataFrame, shown: pd.DataFrame) -> dict[str, Any]:
    return {
        "trained": len(rows),
        "shown": len(shown),
        "by_status": rows.status.value_counts().to_dict(),
        "by_phase": rows.phase.value_counts(sort=False).to_dict(),
    }


def _steps(rows: pd.DataFrame, num_val: int | None) -> dict[str, Any]:
    """The best so far, of all rows in the order of time."""
    good = rows.loc[rows.status == "ok"].sort_values(by="seconds", kind="stable")
    steps = good.iloc[improvements(good.val_acc_final.to_numpy(float))]
    errors = [standard_error(value, num_val) for value in steps.val_acc_final]
    return {
        "seconds": steps.seconds.to_list(),
        "accuracies": steps.val_acc_final.to_list(),
        "errors": errors,
        "end": rows.seconds.max() if len(rows) else 0,
    }


def _phases(good: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each phase; networks that a predictor chose are apart from those that evolved without one."""
    phase = good.phase.where(good.predicted_mean.isna(), "predicted")
    groups = good.val_acc_final.groupby(phase, sort=False)
    return [{"phase": str(name), "count": len(g), "mean": g.mean(), "best": g.max()} for name, g in groups]


def _predictions(good: pd.DataFrame) -> dict[str, Any] | None:
    """How well predictions agree with what was measured; None where there are fewer than two."""
    told = good[good.predicted_mean.notna()]
    if len(told) < 2:
        return None
    from scipy.stats import kendalltau  # takes a second, and few searches are so long

    tau = kendalltau(told.predicted_mean, told.val_acc_final).statistic  # pyright: ignore[reportAttributeAccessIssue]
    mean_error = (told.predicted_mean - told.val_acc_final).abs().mean()
    return {"count": len(told), "kendall_tau": float(np.nan_to_num(tau)), "mean_error": mean_error}


def _curves(epochs: pd.DataFrame, found: SearchRows) -> dict[str, Any]:
    """Validation accuracies by epoch of those in the search, by hash; both accuracies of the winner's longer ones."""
    is_final = epochs.recipe_id != found.experiment["recipe_id"]
    search = epochs[~is_final].val_acc.round(4).groupby(epochs.hash).agg(list)
    finals = [
        {"seed": seed, "val": group.val_acc.round(4).to_list(), "train": group.train_acc.round(4).to_list()}
        for seed, group in epochs[is_final].groupby("seed")
    ]
    return {"search": search.to_dict(), "finals": finals}


def _features(shown: pd.DataFrame, known: dict[str, _Described | None]) -> dict[str, Any]:
    """The features of the rows that are shown, null for those without, and what they tell of the accuracy."""
    values = [found.features if (found := known[hash]) else None for hash in shown.hash]
    is_good = (shown.status == "ok") & shown.val_acc_final.notna()
    is_used = [good and value is not None for value, good in zip(values, is_good, strict=True)]
    table = np.array([value for value, used in zip(values, is_used, strict=True) if used], float)
    accuracies = shown.val_acc_final[is_used].to_numpy(float)
    explained = explain(table.reshape(-1, len(FEATURES)), accuracies)
    return {"names": FEATURES, "logs": LOG_FEATURES, "values": values, "explained": explained}


def _failures(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Reasons with how often they occurred, the most frequent first."""
    failed = rows[rows.status != "ok"]
    groups = failed.groupby(["status", "message"], sort=False, dropna=False).hash
    found = [
        {"status": status, "message": message, "count": len(g), "hash": g.iloc[0]} for (status, message), g in groups
    ]
    return sorted(found, key=lambda reason: -reason["count"])[:50]
