"""`jnas store`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from jnas.store import Store, export_optuna, export_table, import_rows, open_store, paths

_MOST_REASONS = 10


@dataclass(frozen=True)
class Options:
    """Show what a file of results holds, write it as a Parquet or CSV file, or add results from elsewhere."""

    store: tyro.conf.Positional[str] = paths.DEFAULT_STORE
    """File of a search's results, or the folder that it is in."""
    export: str | None = None
    """File to write; its ending, .parquet or .csv, is its format."""
    table: str | None = None
    """Table to write, such as evaluations, epochs or generations; by default one row an evaluation, with the
    architecture's cost."""
    optuna: str | None = None
    """File to write the newest search to, as a study that optuna-dashboard shows."""
    import_: Annotated[str | None, tyro.conf.arg(name="import")] = None
    """File of results from elsewhere to add: a CSV file with columns hash and val_acc, or the database of Sophius."""
    overwrite: bool = False
    """Replace the file to write if it exists."""


def run(options: Options) -> None:
    if options.import_ is not None:
        count = import_rows(options.store, options.import_)
        print(f"Added {count} rows of {options.import_} to {Store(options.store).path}.")
    elif options.optuna is not None:
        print(f"Wrote {export_optuna(options.store, options.optuna)}: optuna-dashboard {options.optuna} shows it.")
    elif options.export is None:
        _show(open_store(options.store))
    else:
        export_table(options.store, options.export, options.table, options.overwrite)
        print(f"Wrote {options.export}.")


def _show(store: Store) -> None:
    """Prints the number of evaluations by status, why some failed, and a line for each search."""
    evaluations, searches = store.to_df(), store.experiments_df()
    counts = evaluations.status.value_counts()
    statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
    total = f"{len(evaluations)} evaluation{'s' * (len(evaluations) != 1)}{f' ({statuses})' if statuses else ''}"
    print(f"{store.path}: {total}, {len(searches)} search{'es' * (len(searches) != 1)}.")
    failed = evaluations.loc[~evaluations.status.isin(["ok", "stopped"])].fillna({"message": "no reason is known"})
    reasons = failed.groupby(["status", "message"]).size().sort_values(ascending=False, kind="stable")
    for (status, message), count in list(reasons.items())[:_MOST_REASONS]:
        print(f"{status}, {count} time{'s' * (count > 1)}: {message}")
    if len(reasons) > _MOST_REASONS:
        print(f"and {len(reasons) - _MOST_REASONS} other reasons: --export writes all rows.")
    for search in searches.to_dict("records"):
        rows = store.experiment_df(search["experiment_id"])
        best = rows.val_acc_final.max() if len(rows) else float("nan")
        accuracy = f", best validation accuracy {best:.4f}" if best == best else ""
        hash, started = search["winner_hash"], f"{search['started_at']:%Y-%m-%d %H:%M} UTC on {search['dataset_name']}"
        winner = f"winner {hash}" if isinstance(hash, str) else "no winner yet"
        print(f"Search {search['experiment_id']} of {started}: {len(rows)} templates{accuracy}, {winner}.")
