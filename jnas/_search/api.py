"""The function `jnas.search`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from typing_extensions import Unpack

from jnas._search.acquisition import Acquisition
from jnas._search.config import Precision, RecipeName, SearchConfig
from jnas._search.evolution import AlgorithmName
from jnas._search.loop import run
from jnas._search.objectives import Objective
from jnas._search.presets import PresetName
from jnas._search.progress import ConsoleProgress, Progress
from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data
from jnas.errors import JnasError
from jnas.space import Style

if TYPE_CHECKING:
    from jnas._search.result import SearchResult


class SearchOptions(TypedDict, total=False):
    """The fields of `SearchConfig` but `data`, as keyword arguments of `jnas.search`."""

    classes: int | None
    store: str | os.PathLike[str]
    num_random: int
    num_screened: int
    pool_size: int
    refit_every: int
    acquisition: Acquisition
    generations: int | None
    minutes: float | None
    max_trials: int | None
    target_accuracy: float | None
    population_size: int
    trials_per_generation: int
    algorithm: AlgorithmName
    objectives: Sequence[Objective]
    recipe: RecipeName
    epochs: int
    prune_after_epochs: int
    final_epochs: int
    final_repeats: int
    num_finalists: int
    batch_size: int | None
    learning_rate: float | None
    val_fraction: float | None
    precision: Precision
    space: Style
    conv_num: int
    lin_num: int
    max_params: int | None
    max_macs: int | None
    compile_timeout: float
    max_latency_ms: float | None
    seed: int


def search(
    data: Dataset | Mapping | str | os.PathLike[str] | None = None,
    config: SearchConfig | None = None,
    *,
    preset: PresetName | None = None,
    progress: Progress | None = None,
    verbose: bool = True,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Returns the best small image classifier found by a search, and all templates that it trained.

    Random templates are trained first, then ones that a predictor screens from many, then evolved ones. The winner is
    trained for longer, and tested. The same call with the same store continues a search that was stopped.

    Args:
      data: a `Dataset`, or what `load_data` takes: "excerpt", "cifar10", a path, a dictionary of arrays; by default
        `config.data`.
      config: all settings in one object; by default those of the preset.
      preset: settings by name ("record") where there is no `config`.
      progress: receives the events of the search, in place of the console.
      verbose: whether to print progress and the final tables.
      **options: fields of `SearchConfig` that differ from `config` or the preset.

    Raises:
      JnasError: a setting is not valid, the data cannot be read, or no template could be trained.

    Example:
      >>> import jnas
      >>> result = jnas.search("excerpt", num_random=24, generations=3)  # doctest: +SKIP
      >>> result.best.predict(images)  # doctest: +SKIP
    """
    names = [field.name for field in dataclasses.fields(SearchConfig)]
    if unknown := sorted(set(options) - set(names)):
        raise JnasError(f"A search has no setting {', '.join(unknown)}: its settings are {', '.join(names)}.")
    if config is not None and preset is not None:
        raise JnasError("Give a config or a preset, not both: SearchConfig.from_preset makes a config of a preset.")
    changes = dict(options)
    if data is not None:
        # The store records this as the source of the images.
        changes["data"] = data if isinstance(data, str | os.PathLike) else IN_MEMORY_SOURCE
    if config is None:
        config = SearchConfig.from_preset(preset, **changes)
    elif changes:
        config = dataclasses.replace(config, **changes)
    progress = progress or (ConsoleProgress() if verbose else Progress())
    try:
        return run(config, load_data(config.data if data is None else data, config.classes), progress)
    finally:
        progress.close()
