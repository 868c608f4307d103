"""jnas: neural architecture search for small image classifiers, in JAX and Flax.

>>> import jnas
>>> jnas.Template.from_hash("008204222000000001000000")
Conv2d (32, 32, 32) (3, 3) (1, 1) / ReLU (32, 32, 32) / Flatten 32768 / Linear 10
>>> result = jnas.search("excerpt", seed=1)  # doctest: +SKIP
>>> model = result.best.build()  # doctest: +SKIP
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jnas._runtime.compilation_cache import use_compilation_cache as use_compilation_cache
    from jnas._search.api import search as search
    from jnas._search.callbacks import Callback as Callback
    from jnas._search.classifier import Classifier as Classifier
    from jnas._search.config import SearchConfig as SearchConfig
    from jnas._search.opening import open as open
    from jnas._search.result import SearchResult as SearchResult
    from jnas.data import Dataset as Dataset
    from jnas.data import load_data as load_data
    from jnas.errors import JnasError as JnasError
    from jnas.export import export_model as export_model
    from jnas.predict import Predictor as Predictor
    from jnas.predict import load_table as load_table
    from jnas.report import plot_front as plot_front
    from jnas.report import plot_predictions as plot_predictions
    from jnas.report import plot_search as plot_search
    from jnas.report import write_report as write_report
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
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "unknown"

# Loaded when they are first used: Flax, Orbax and DuckDB take seconds, and much of the library does without them.
_LAZY_MODULES = ("data", "evolve", "export", "nn", "predict", "report", "space", "store", "trackers", "train")
_HOMES = {
    "_runtime.compilation_cache": ("use_compilation_cache",),
    "_search.api": ("search",),
    "_search.callbacks": ("Callback",),
    "_search.classifier": ("Classifier",),
    "_search.config": ("SearchConfig",),
    "_search.opening": ("open",),
    "_search.result": ("SearchResult",),
    "data": ("Dataset", "load_data"),
    "errors": ("JnasError",),
    "export": ("export_model",),
    "predict": ("Predictor", "load_table"),
    "report": ("plot_front", "plot_predictions", "plot_search", "write_report"),
    "space": ("Space", "Template"),
    "store": ("Store",),
    "train": ("Recipe", "Trial", "evaluate", "sample_trials", "successive_halving"),
}
_HOME_OF = {name: f"jnas.{home}" for home, names in _HOMES.items() for name in names}

# `from jnas import *` must not take the place of Python's `open`.
__all__ = sorted(_HOME_OF.keys() - {"open"})  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _HOME_OF and name not in _LAZY_MODULES:
        raise AttributeError(f"module 'jnas' has no attribute {name!r}")
    module = importlib.import_module(_HOME_OF.get(name, f"jnas.{name}"))
    globals()[name] = value = getattr(module, name) if name in _HOME_OF else module
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_LAZY_MODULES})
