"""The caller's settings of JAX, the cache folder, the device and the console."""

import contextlib
import io
import sys
from unittest import mock

import jax
import numpy as np
from conftest import small_arrays

import jnas
from borders import Row
from jnas._runtime import compilation_cache, console, jax_config
from jnas.evolve import Categorical, RandomSearch
from jnas.predict import EnsembleConfig
from jnas.space import Flatten, Linear

STRICT = {
    "enable_x64": True,
    "numpy_rank_promotion": "raise",
    "numpy_dtype_promotion": "strict",
    "default_matmul_precision": "bfloat16",
    "default_prng_impl": "rbg",
    "threefry_partitionable": False,
    "softmax_custom_jvp": True,
    "disable_jit": True,
    "no_tracing": True,
    "debug_nans": True,
    "debug_infs": True,
    "debug_key_reuse": True,
    "check_tracer_leaks": True,
    "enable_checks": True,
    "legacy_prng_key": "error",
    "enable_custom_prng": True,
    "transfer_guard": "disallow_explicit",
}
_SPACE = Categorical((3, 3, 3))
_KEY = jax.random.key(7)
_DATA = small_arrays()
_TEMPLATE = jnas.Template([Flatten(), Linear(3)], (3, 8, 8))
_CONFIG = EnsembleConfig(members=2, folds=2, hidden_dim=4, head_dim=4, num_steps=2)
_GENOMES = np.arange(24).reshape(8, 3) % 3


def _random():
    return [jnas.Space((3, 8, 8), 3, conv_num=1, lin_num=1).random(seed).hash for seed in range(2)]


def _evaluated():
    recipe = jnas.Recipe(epochs=1, batch_size=24)
    (row,) = jnas.evaluate(_TEMPLATE, _DATA, recipe, progress=False)
    return row.status, row.val_acc_final, row.epochs


def _predicted():
    generator = np.random.default_rng(0)
    predictor = jnas.Predictor(0, _CONFIG).fit(generator.random((12, 2, 32)), np.full(12, 2), generator.random(12))
    mean, std = predictor.predict(generator.random((3, 2, 32)), np.full(3, 2))
    return mean.tolist(), std.tolist()


def _evolved():
    algorithm = RandomSearch(_SPACE)
    state = algorithm.init(_KEY, _GENOMES, _GENOMES.sum(1).astype(np.float32))
    with jax_config.own_settings():
        return np.asarray(algorithm.ask(state)[0]).tolist()


@contextlib.contextmanager
def strict_settings():
    """What a caller may have set, all at once."""
    with contextlib.ExitStack() as stack:
        for name, value in STRICT.items():
            stack.enter_context(jax_config._manager(name)(value))
        yield


def _alike(call):
    """Whether a call returns under the caller's settings what it returns without, and leaves them."""
    expected = call()
    with strict_settings():
        before = jax_config.snapshot_jax_config()
        return call() == expected and jax_config.snapshot_jax_config() == before


def _refused(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        jnas.Space().random(0)
    finally:
        jax.config.update(name, before)


def _without_device(error):
    with mock.patch.object(jax, "devices", side_effect=error), mock.patch.dict("os.environ", JAX_PLATFORM_NAME="npu"):
        jnas.evaluate(_TEMPLATE, _DATA, store="a.duckdb")


def _cache_dir(**environment):
    names = ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    with mock.patch.dict("os.environ", environment):
        for name in set(names) - set(environment):
            compilation_cache.os.environ.pop(name, None)
        with mock.patch("pwd.getpwuid", side_effect=KeyError):
            folder = compilation_cache.cache_dir("xla")
            row = jnas.evaluate(_TEMPLATE, _DATA, jnas.Recipe(epochs=1, batch_size=24), progress=False)[0]
            return folder, row.status


def _file(folder):
    (folder / "file").touch()
    return str(folder / "file")


def _printed(stream):
    with mock.patch.object(sys, "stdout", stream):
        console.make_console().print("a…²\udcff", soft_wrap=True)
    return stream


def _closed():
    stream = io.StringIO()
    stream.close()
    return stream


class _Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def _ascii(_):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    _printed(stream)
    stream.flush()
    return stream.buffer.getvalue()


def _is_plain(**environment):
    terminal = mock.Mock(wraps=io.StringIO(), encoding="utf-8", isatty=lambda: True, spec=io.StringIO)
    with mock.patch.dict("os.environ", environment), mock.patch.object(sys, "stdout", terminal):
        return not console.is_live(console.make_console())


def _in_notebook_with_widgets(_):  # tests/test_package.py has one without
    with mock.patch("rich.console._is_jupyter", return_value=True), mock.patch("importlib.util.find_spec"):
        return console.is_live(console.make_console())


ROWS = [
    *(
        Row("jax.config", "right", lambda _, call=call: _alike(call), bool)
        for call in (_random, _evaluated, _predicted, _evolved)
    ),
    Row(
        "jax.config",
        "wrong value",
        lambda _: _refused("jax_random_seed_offset", 3),
        "JAX's setting jax_random_seed_offset must be 0, got 3; set it so while jnas computes.",
    ),
    Row(
        "jax.config",
        "wrong value",
        lambda _: _refused("jax_error_checking_behavior_nan", "raise"),
        "JAX's setting jax_error_checking_behavior_nan must be ignore, got 'raise'; set it so while jnas computes.",
    ),
    Row(
        "JAX_PLATFORMS",
        "missing",
        lambda _: _without_device(RuntimeError("No such device. (set JAX_PLATFORMS='' to choose one)")),
        "JAX_PLATFORMS must name platforms that JAX can use here, got 'npu' ('No such device.'); unset it, or set it to "
        "cpu.",
    ),
    Row(
        "JAX_PLATFORMS",
        "missing",
        lambda _: _without_device(AssertionError()),
        "JAX_PLATFORMS must name platforms that JAX can use here, got 'npu'; unset it, or set it to cpu.",
    ),
    Row("XDG_CACHE_HOME", "missing", lambda _: _cache_dir(), lambda r: r == (None, "ok")),
    Row("XDG_CACHE_HOME", "foreign", lambda f: _cache_dir(XDG_CACHE_HOME=_file(f)), lambda r: r == (None, "ok")),
    *(
        Row(
            "XDG_CACHE_HOME",
            kind,
            lambda f, value=value: _cache_dir(XDG_CACHE_HOME=value, HOME=str(f))[0],
            lambda r: r.parts[-3:] == (".cache", "jnas", "xla") and not r.parent.exists(),
        )
        for kind, value in (("empty", ""), ("wrong value", "relative"))
    ),
    Row("console", "wrong value", _ascii, lambda r: r == b"a???\n"),
    Row("console", "missing", lambda _: _printed(None), lambda r: r is None),
    Row("console", "not writable", lambda _: _printed(_closed()), lambda r: r.closed),
    Row("console", "not writable", lambda _: _printed(_Broken()), lambda r: r.getvalue() == ""),
    Row("console", "right", lambda _: _is_plain(TERM="dumb"), bool),
    Row("console", "right", _in_notebook_with_widgets, bool),
]
