"""The function `jnas.search`."""

import contextlib
import dataclasses
import inspect
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import ArrayLike

from jnas._runtime.console import is_logging, make_console
from jnas._runtime.jax_config import with_own_settings
from jnas._search.callbacks import Callback, Callbacks
from jnas._search.config import PresetName, SearchConfig, SearchOptions, check_names, setting_parameters
from jnas._search.loop import Search
from jnas._search.progress import ConsoleProgress
from jnas._search.report_callback import ReportCallback
from jnas._search.result import SearchResult
from jnas._search.setup import set_up
from jnas._search.stopping import catch_interrupt
from jnas._validation import refuse, to_bool, to_instance, to_tuple
from jnas.data import IN_MEMORY_SOURCE, Dataset, load_data


@with_own_settings
def search(
    data: Dataset | Mapping[str, ArrayLike] | tuple | str | Path | None = None,
    config: SearchConfig | None = None,
    *,
    preset: PresetName | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    **options: Unpack[SearchOptions],
) -> SearchResult:
    """Returns the best small image classifier found in a given time, and all templates that were trained.

    Networks that people build by hand are trained first, then what evolution makes of the best. The winner is trained
    for longer, and tested. The same call with the same store continues a search that was stopped.

    Ctrl-C ends it as a limit does: what is in training is finished, then the winner is trained. A second Ctrl-C ends
    it at once. Either way everything that was finished is kept. SIGTERM and SIGHUP are like the first Ctrl-C.

    Args:
      data: a `Dataset`, or what `load_data` takes; by default `config.data`.
      config: all settings in one object; by default those of the preset.
      preset: settings by name ("gpu") where there is no `config`.
      callbacks: hear of the events of the search; see `jnas.Callback`.
      verbose: whether to print progress and the final tables. Where logging is set up for INFO, they are logged
        instead, by the logger `jnas`, whatever this is.
      **options: fields of `SearchConfig` that differ from `config` or the preset, such as `generations=3`.

    Raises:
      JnasError: a setting is not valid, the data cannot be read, or no template could be trained.

    Example:
      >>> import jnas
      >>> result = jnas.search("excerpt", minutes=10)  # doctest: +SKIP
      >>> result.best.predict(images)  # doctest: +SKIP
    """
    start = time.monotonic()
    check_names(options)
    if config is not None:
        to_instance("config", config, SearchConfig, "give single settings as keywords, such as epochs=5")
    callbacks = to_tuple("callbacks", callbacks, "a list of Callbacks")
    for callback in callbacks:
        to_instance("Each of callbacks", callback, Callback)
    verbose = to_bool("verbose", verbose)
    if config is not None and preset is not None:
        refuse("preset", "None where a config is given", preset, "SearchConfig.from_preset makes a config of it")
    changes: dict[str, Any] = {**options}
    if data is not None:
        # The store records this as the source of the images.
        changes["data"] = data if isinstance(data, str | os.PathLike) else IN_MEMORY_SOURCE
    if config is None:
        config = SearchConfig.from_preset(preset, **changes)
    elif changes:
        config = dataclasses.replace(config, **changes)
    own = [ConsoleProgress(make_console(quiet=not verbose))] * (verbose or is_logging())
    own += [ReportCallback()] * config.report
    callback = Callbacks([*own, *callbacks])
    with contextlib.closing(callback), catch_interrupt(callback) as interrupt:
        source = config.data if data is None else data
        dataset = load_data(source, config.classes, size=config.size, fit=config.fit, progress=verbose)
        return Search(set_up(config, dataset, callback, start, interrupt)).run()


def _signature() -> inspect.Signature:
    """The signature with the settings by name, which `help` shows."""
    first = [parameter for name, parameter in inspect.signature(search).parameters.items() if name != "options"]
    return inspect.Signature([*first, *setting_parameters()], return_annotation=SearchResult)


search.__signature__ = _signature()  # pyright: ignore[reportFunctionMemberAccess]
