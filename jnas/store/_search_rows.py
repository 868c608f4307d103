"""All that a report says of one search, read at one moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jnas._validation import refuse
from jnas.store._records import Key
from jnas.store._schema import TRAINED_CANDIDATES
from jnas.store._store import Store

if TYPE_CHECKING:
    import pandas as pd

_KEY = ", ".join(Key._fields)
_OF_SEARCH = "in_shape, num_classes, dataset_fingerprint, split_seed"
_JSON_COLUMNS = ("config_json", "versions")


@dataclass(frozen=True)
class SearchRows:
    """Tables of one search.

    Attributes:
      experiment: its row of the table `experiments`, JSON as dictionaries.
      rows: one a template that was trained, in order: columns of `candidates`, `evaluations` and `architectures`, and
        `latency_ms` of one image, NaN where it was not measured.
      generations: its rows of the table, in order.
      promotions: the best that were trained again before one of them was the winner: `hash`, `val_acc_final`.
      finals: evaluations of the winner in its longer training, a row a seed.
      recipe, final_recipe: how candidates and the winner were trained; empty where nothing was.
    """

    experiment: dict[str, Any]
    rows: pd.DataFrame
    generations: pd.DataFrame
    promotions: pd.DataFrame
    finals: pd.DataFrame
    recipe: dict[str, Any]
    final_recipe: dict[str, Any]


def read_search(store: Store, experiment_id: str) -> SearchRows:
    """Returns the tables of a search; raises a `JnasError` if the store does not have it."""
    with store.connect() as connection:

        def read(query: str, *parameters: Any) -> pd.DataFrame:
            return connection.execute(query, list(parameters)).df()

        def read_recipe(recipe_id: Any) -> dict[str, Any]:
            found = read("SELECT recipe_json FROM recipes WHERE recipe_id = ?", recipe_id).recipe_json
            return json.loads(found[0]) if len(found) else {}

        experiments = read("SELECT * FROM experiments WHERE experiment_id = ?", experiment_id)
        if experiments.empty:
            refuse("experiment", f"a search in {store.path}", experiment_id, "Store.experiments_df has them")
        experiment = {str(name): value for name, value in experiments.iloc[0].items()}
        for name in _JSON_COLUMNS:
            experiment[name] = json.loads(experiment[name]) if isinstance(experiment[name], str) else {}
        rows = read(
            "SELECT c.*, e.* EXCLUDE (hash, versions), a.params, a.macs, a.flops, l.latency_ms "
            f"FROM {TRAINED_CANDIDATES} LEFT JOIN (SELECT hash, in_shape, num_classes, "
            "min(latency_ms) AS latency_ms FROM latencies WHERE batch_size = 1 GROUP BY ALL) l "
            "USING (hash, in_shape, num_classes) WHERE c.experiment_id = ? ORDER BY c.generation, c.position",
            experiment_id,
        )
        finals = read(
            f"SELECT e.* FROM evaluations e JOIN experiments x USING ({_OF_SEARCH}) WHERE x.experiment_id = ? "
            "AND e.hash = x.winner_hash AND e.recipe_id = x.final_recipe_id "
            "ORDER BY e.test_acc_final IS NULL, e.finished_at DESC",
            experiment_id,
        )
        promotions = read(
            f"SELECT e.hash, e.val_acc_final FROM evaluations e JOIN experiments x USING ({_OF_SEARCH}, seed) "
            "WHERE x.experiment_id = ? AND e.recipe_id = x.promoted_recipe_id AND e.status = 'ok' ORDER BY e.hash",
            experiment_id,
        )
        generations = read("SELECT * FROM generations WHERE experiment_id = ? ORDER BY generation", experiment_id)
        final_recipe = read_recipe(finals.recipe_id[0]) if len(finals) else {}
        recipe = read_recipe(experiment["recipe_id"])
        return SearchRows(experiment, rows, generations, promotions, finals, recipe, final_recipe)


def read_curves(store: Store, evaluations: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the table `epochs` of evaluations, in order: their keys must be columns."""
    types = {name: "BIGINT" if name in ("num_classes", "split_seed", "seed") else "VARCHAR" for name in Key._fields}
    # Lists, as DuckDB's scan of a data frame fails now and then where threads open files.
    wanted = ", ".join(f"unnest(?::{type}[]) AS {name}" for name, type in types.items())
    keys = [evaluations[name].astype("int64" if type == "BIGINT" else str).to_list() for name, type in types.items()]
    with store.connect() as connection:
        return connection.execute(
            f"SELECT hash, recipe_id, seed, epoch, train_loss, train_acc, val_acc FROM epochs JOIN (SELECT {wanted}) "
            f"USING ({_KEY}) ORDER BY hash, recipe_id, seed, epoch",
            keys,
        ).df()
