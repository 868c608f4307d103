"""How long it takes to read a folder of JPEGs, the first and the second time, and the memory that it takes at most.

    python benchmarks/reading.py --json OUT.json

`--count` JPEGs of about 500x400 are written to a temporary folder. Memory is what the process takes at most, above what
Python with jnas and JAX takes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import report, run

_READ = """
import json, resource, sys, time
import jax
from jnas import load_data
jax.devices()
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
data = load_data(sys.argv[1], progress=False)
seconds = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "array_mib": data.x_train.nbytes / 2**20, "peak_mib": (after - before) / 1024}))
"""


def write_pictures(folder: Path, count: int) -> None:
    """Writes JPEGs of two classes, with the detail of photographs: noise at several scales, about 60 KB each."""
    from PIL import Image

    def write(number: int) -> None:
        generator = np.random.default_rng(number)
        height, width = int(generator.integers(350, 450)), int(generator.integers(450, 550))
        picture = np.zeros((height, width, 3))
        for scale, strength in ((4, 60), (16, 40), (64, 25), (256, 12)):
            noise = generator.integers(0, 255, (scale, scale, 3), dtype=np.uint8)
            picture += np.asarray(Image.fromarray(noise).resize((width, height))) * (strength / 255)
        path = folder / str(number % 2) / f"{number}.jpg"
        Image.fromarray((picture + 50).clip(0, 255).astype(np.uint8)).save(path, quality=85)

    for name in ("0", "1"):
        (folder / name).mkdir()
    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(count)))


def measure(count: int) -> dict[str, dict[str, float]]:
    """Returns seconds and memory (MiB) of two runs, each in a fresh process."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "pictures"
        folder.mkdir()
        write_pictures(folder, count)
        environment = os.environ | {"XDG_CACHE_HOME": str(Path(work) / "cache")}
        results = {}
        for run in ("first", "second"):
            command = [sys.executable, "-c", _READ, str(folder)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            results[run] = json.loads(done.stdout.splitlines()[-1])
        size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / count
    return {"pictures": {"count": count, "mean_bytes": size}, **results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="pictures")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    figures = measure(arguments.count)
    report(figures, arguments, tuple(figures))


if __name__ == "__main__":
    run(main)
