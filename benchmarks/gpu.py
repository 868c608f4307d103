"""What ten minutes on a GPU can tell, the most valuable first; whatever is known is in the file when time is up.

    python benchmarks/gpu.py --data PATH.npz --json OUT.json [--minutes 9] [--only PART ...] [--toy]

The parts, each in processes of its own and within its share of the minutes that are left:

- `chain`: seconds and accuracies of a chain in the shape of airbench94 (Jordan 2024, arXiv:2404.00498), by speedrun.py;
- `population`: 20 templates, cold and warm, against PyTorch, by population.py;
- `flags`: milliseconds and compile seconds of steps under flags of XLA. `ratio` and `compile_ratio` are those without a
  flag over those with it, geometric means of the templates, so above 1 the flag helps; `none again` is the noise;
- `bfloat16`: the same of steps in float32 over those in bfloat16, and the share of the bytes that the backward pass
  reads of the forward pass that are bfloat16;
- `mps`: two and four processes that train different templates at once, without and with NVIDIA's Multi-Process
  Service. `gain` is the time one after the other, without it, over the time at once.

PATH has CIFAR-10 (`x_train`, `y_train`, `x_test`, `y_test`). A part that fails is an entry with its `error`, and the
others go on. `--toy` is for a CPU: all parts that can run there, as small as they get.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
from common import HASHES, geometric_mean, provenance, read_templates, run

import jnas

CHAIN = (
    "0082082110040000008104220048900040000000100400000081042240000000100400000080242200489000400000001004000000802422400000"
    "0010040000008024220048900040000000100400000080242240000000100400000044500001000000"
)
TOY = "008804052000000001000000"
"""A convolution of stride 4, then Linear."""
_BUFFERS = "--xla_gpu_command_buffer_scheduling_mode="
_LOOPS = " --xla_gpu_enable_command_buffer=+WHILE"
_KERNELS = "--xla_gpu_enable_llvm_module_compilation_parallelism=true --xla_gpu_kernel_cache_file={folder}/kernels"
FLAGS = {
    "concurrent regions": f"{_BUFFERS}CONCURRENT_REGIONS",
    "concurrent": f"{_BUFFERS}CONCURRENT",
    "concurrent, loops": f"{_BUFFERS}CONCURRENT{_LOOPS}",
    "concurrent regions, loops": f"{_BUFFERS}CONCURRENT_REGIONS{_LOOPS}",
    "dependent launch": "--xla_gpu_enable_pdl=true",
    "convolution fusion": "--xla_gpu_experimental_enable_conv_fusion=true",
    "no ptxas optimisation": "--xla_gpu_disable_gpuasm_optimizations=true",
    "kernel cache, empty": _KERNELS,
    "kernel cache, filled": _KERNELS,
    "none again": "",
}
"""Flags of XLA by name. Under convolution fusion convolutions are XLA's own, else there would be none."""
MPS = "nvidia-cuda-mps-control"


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a part is run with: images, size, JAX's backend, a folder for files, and when it must end.

    `deadline` is of `time.monotonic`.
    """

    data: str
    toy: bool
    backend: str
    folder: pathlib.Path
    deadline: float

    def script(self, name: str, *words: str, most: float = math.inf, **environment: str) -> dict:
        """Returns the figures that a script of this folder writes; where it fails or takes too long, with an `error`.

        Args:
          words: its options, without --json.
          most: seconds, if less than what is left.
        """
        out, log = self.folder / "out.json", self.folder / "log.txt"
        out.unlink(missing_ok=True)
        command = [sys.executable, str(pathlib.Path(__file__).with_name(name)), *words, "--json", str(out)]
        limit = max(0.0, min(most, self.deadline - time.monotonic()))
        ours = {"XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONUNBUFFERED": "1"}
        start = time.monotonic()
        with log.open("w") as file:
            code = _exit_code(command, limit, stdout=file, stderr=file, env=os.environ | ours | environment)
        found, text = {}, log.read_text(errors="replace")
        with contextlib.suppress(OSError, ValueError, KeyError):  # not written, or not to its end
            found = json.loads(out.read_text())["figures"]
        if code is None:
            found |= {"error": f"ended after {limit:.0f} s, its limit", "output": text[-2000:]}
        elif code and re.search("Unknown flag|Flag parsing failed", text):
            found |= {"error": "unknown flag"}
        elif code:
            found |= {"error": f"exit code {code}", "output": text[-2000:]}
        return found | {"wall_seconds": time.monotonic() - start}


def _exit_code(command: list[str], limit: float, **pipes) -> int | None:
    """The exit code of a command; None where it had to be ended. No process that it started outlives it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **pipes)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def chain(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Yields what speedrun.py measures."""
    changes = {"batch_size": 64} if setting.toy else {"batch_size": 512, "precision": "bfloat16"}
    words = ["--hash", TOY if setting.toy else CHAIN, "--epochs", "1" if setting.toy else "10"]
    words += ["--target", "0.94", "--data", setting.data, "--seeds", "1", "--changes", json.dumps(changes)]
    yield "speedrun", setting.script("speedrun.py", *words)


def population(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Yields what population.py measures."""
    words = ["--limit", "20", "--epochs", "3", "--images", "45000"]
    if setting.toy:
        table = setting.folder / "hashes.csv"
        table.write_text(f"hash\n{TOY}\n")
        words = ["--hashes", str(table), "--epochs", "1", "--images", "256", "--peer", "none", "--cold-only"]
    yield "population", setting.script("population.py", "--data", setting.data, *words)


def by_size(setting: Setting, *ranks: float) -> list[str]:
    """Returns the hashes of templates of the table, by how many of them have fewer MACs, a fraction."""
    if setting.toy:
        return [TOY]
    templates = sorted(read_templates(HASHES, 20), key=lambda template: template.cost.macs)
    return [templates[round(rank * (len(templates) - 1))].hash for rank in ranks]


def ratio(rows: list[dict], others: list[dict], what: str) -> float | None:
    """Returns the geometric mean of times of float32 in rows over those of the same templates in others."""
    times = {row["hash"]: row[what]["float32"] for row in rows}
    found = [times[row["hash"]] / row[what]["float32"] for row in others if row["hash"] in times]
    return geometric_mean(found) if found else None


def flags(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Yields steps without a flag, then under each, with their ratios."""
    words = ["gpu_steps.py", "--hashes", *by_size(setting, 0.1, 0.5, 0.85)]
    words += ["--seconds", "0.01"] if setting.toy else []
    no_caches = {"JNAS_EXECUTABLE_CACHE": "0", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    own, rows = os.environ.get("XLA_FLAGS", ""), []
    for name in ["none", *([] if setting.toy else FLAGS)]:
        flag = FLAGS.get(name, "").format(folder=setting.folder)
        direct = ["--direct"] if name == "convolution fusion" else []
        found = setting.script(*words, *direct, most=60, XLA_FLAGS=f"{own} {flag}".strip(), **no_caches)
        rows = found.get("rows", []) if name == "none" else rows
        for key, what in (("ratio", "ms"), ("compile_ratio", "compile_seconds")):
            found[key] = ratio(rows, found.get("rows", []), what)
        yield name, {"flag": flag} | found
    if setting.toy:
        yield "all others", {"error": "flags of GPUs do nothing on a CPU"}


def bfloat16(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Yields steps in both precisions, and what they come to."""
    hashes = by_size(setting, 0.1, 0.5, 0.85) + ([] if setting.toy else [CHAIN])
    words = ["--precisions", "float32", "bfloat16", "--seconds", "0.01" if setting.toy else "0.3"]
    steps = setting.script("gpu_steps.py", "--hashes", *hashes, *words)
    rows = steps.get("rows", [])
    summary = {}
    if rows:
        saved = [row["saved"]["bfloat16"] for row in rows]
        half = sum(one["bytes"] * (one["bfloat16_share"] or 0) for one in saved)
        summary = {
            "ratio": geometric_mean([row["ms"]["float32"] / row["ms"]["bfloat16"] for row in rows]),
            "saved_bfloat16_share": half / max(1, sum(one["bytes"] for one in saved)),
        }
    yield "steps", summary | steps


@contextlib.contextmanager
def mps_daemon(folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """Runs a Multi-Process Service of our own; its value is the environment of those that use it.

    Raises:
      JnasError: if it cannot be started.
    """
    places = {"CUDA_MPS_PIPE_DIRECTORY": folder / "mps", "CUDA_MPS_LOG_DIRECTORY": folder / "mps-log"}
    for place in places.values():
        place.mkdir()
    environment, log = {name: str(place) for name, place in places.items()}, folder / "mps.txt"
    try:
        with log.open("w") as file:  # no pipe: the daemon would keep it open
            pipes = {"stdout": file, "stderr": file, "stdin": subprocess.DEVNULL}
            code = subprocess.run([MPS, "-d"], env=os.environ | environment, timeout=20, **pipes).returncode
        if code:
            raise jnas.JnasError(f"{MPS} ended with exit code {code}: {log.read_text(errors='replace')[-500:]}")
        yield environment
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            mps_answer("quit -t 5", environment)


def mps_answer(command: str, environment: dict[str, str]) -> str:
    """Returns what the Multi-Process Service answers."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run([MPS], input=f"{command}\n", text=True, timeout=20, env=os.environ | environment, **pipes)
    return done.stdout.strip()


def mps(setting: Setting) -> Iterator[tuple[str, dict]]:
    """Yields processes side by side without and with the service."""
    if setting.backend != "gpu":
        raise jnas.JnasError("The Multi-Process Service needs a GPU of NVIDIA.")
    words = ["gpu_steps.py", "--hashes", *by_size(setting, 0.2, 0.35, 0.5, 0.65), "--seconds", "2"]
    words += ["--side-by-side", "2", "4"]
    no_preallocation = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    without = setting.script(*words, most=90, **no_preallocation)
    yield "without", without
    if not shutil.which(MPS):
        raise jnas.JnasError(f"There is no {MPS} here.")
    with mps_daemon(setting.folder) as environment:
        found = setting.script(*words, **no_preallocation, **environment)
        for number in {"2", "4"} & found.keys() & without.keys():
            found[number]["gain"] = without[number]["alone_seconds"] / found[number]["together_seconds"]
        yield "with", found
        yield "servers", {"list": mps_answer("get_server_list", environment)}  # none: the processes did not use it


PARTS: dict[str, Callable[[Setting], Iterator[tuple[str, dict]]]] = {
    part.__name__: part for part in (chain, population, flags, bfloat16, mps)
}
SHARES = {"chain": 2, "population": 3, "flags": 3, "bfloat16": 1, "mps": 1}
"""Of the minutes that are left when a part begins, among those that have not run."""


def find_device() -> tuple[str, str]:
    """Returns JAX's backend and the device's name, from another process: this one must not take the GPU's memory.

    Raises:
      JnasError: if JAX fails.
    """
    code = "import jax; print(jax.default_backend(), jax.devices()[0].device_kind, sep='\\n')"
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise jnas.JnasError(f"JAX finds no device: {done.stderr[-500:]}")
    backend, name = done.stdout.splitlines()[-2:]
    return backend, name


def measure(names: list[str], options: argparse.Namespace, backend: str, save: Callable[[dict], None]) -> None:
    """Runs the parts of these names, and saves all figures whenever there are new ones."""
    parts: dict[str, dict] = {}
    end = time.monotonic() + 60 * options.minutes
    for place, name in enumerate(names):
        found, start = parts.setdefault(name, {}), time.monotonic()
        share = SHARES[name] / sum(SHARES[other] for other in names[place:])
        try:
            with tempfile.TemporaryDirectory(prefix="jnas-gpu-") as folder:
                deadline = start + share * max(0.0, end - start)
                setting = Setting(options.data, options.toy, backend, pathlib.Path(folder), deadline)
                for key, value in PARTS[name](setting):
                    found[key] = value
                    save(parts)
        except Exception as error:  # of whatever kind: the other parts go on
            found["error"] = str(error) or repr(error)
        failed = [key for key, value in found.items() if key == "error" or "error" in value]
        found["wall_seconds"] = time.monotonic() - start
        save(parts)
        print(f"{name}: {found['wall_seconds']:.0f} s{', failed: ' * bool(failed)}{', '.join(failed)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help=".npz file of CIFAR-10")
    parser.add_argument("--json", required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--toy", action="store_true", help="on a CPU, as small as can be")
    options = parser.parse_args()
    backend, device = find_device()
    if backend != "gpu" and not options.toy:
        raise jnas.JnasError(f"JAX finds no GPU here, but {device}: give --toy to try the script.")
    jax.config.update("jax_platforms", "cpu")  # for this process alone
    out = pathlib.Path(options.json)

    def save(parts: dict) -> None:
        result = provenance(options) | {"device": device, "figures": parts}
        part = out.with_name(f"{out.name}.part")
        part.write_text(json.dumps(result, indent=1, default=str) + "\n")
        part.replace(out)  # never half a file

    measure([name for name in PARTS if name in options.only], options, backend, save)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that what was started is ended
    run(main)
