"""jnas: neural architecture search for small image classifiers, in JAX and Flax.

>>> import jnas
>>> template = jnas.Template.from_hash("00880101000800000001000000100000")  # doctest: +SKIP
>>> result = jnas.search(seed=1)  # doctest: +SKIP
>>> model = result.best.build()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jnas._search import search as search
    from jnas.data import Dataset as Dataset
    from jnas.data import load_data as load_data
    from jnas.errors import JnasError as JnasError
    from jnas.export import export_model as export_model
    from jnas.predict import Predictor as Predictor
    from jnas.report import plot_front as plot_front
    from jnas.report import plot_predictions as plot_predictions
    from jnas.report import plot_search as plot_search
    from jnas.space import Space as Space
    from jnas.space import Template as Template
    from jnas.store import Store as Store
    from jnas.train import Recipe as Recipe
    from jnas.train import Trial as Trial
    from jnas.train import evaluate as evaluate
    from jnas.train import sample_trials as sample_trials
    from jnas.train import successive_halving as successive_halving

try:
    __version__ = version("jnas")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"

# Loaded when asked for: Flax, Orbax and DuckDB take seconds, and much of the library does without them.
_HOME = {
    "Dataset": "jnas.data",
    "JnasError": "jnas.errors",
    "Predictor": "jnas.predict",
    "Recipe": "jnas.train",
    "Space": "jnas.space",
    "Store": "jnas.store",
    "Template": "jnas.space",
    "Trial": "jnas.train",
    "evaluate": "jnas.train",
    "export_model": "jnas.export",
    "load_data": "jnas.data",
    "plot_front": "jnas.report",
    "plot_predictions": "jnas.report",
    "plot_search": "jnas.report",
    "search": "jnas._search",
    "sample_trials": "jnas.train",
    "successive_halving": "jnas.train",
}
_MODULES = ("data", "evolve", "export", "nn", "predict", "report", "space", "store", "train")

__all__ = [*_HOME]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"jnas.{name}")
    raise AttributeError(f"module 'jnas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
