"""All benchmarks whose figures are on the pages: name, kind, topic, command, seconds and device."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

RESULTS = pathlib.Path(__file__).parent / "results"
FILES = {
    "sophius": "sophius_runs.csv",
    "metaqnn": "metaqnn_cifar10.csv",
    "macro": "nas_bench_macro.csv",
    "cifar10": "cifar10.npz",
}
"""Inputs that do not come with jnas, by the name in braces that stands for them in an entry's arguments."""


@dataclass(frozen=True)
class Benchmark:
    """One run of a script.

    Attributes:
      name: of its file in results/, without ".json".
      title: what it measures.
      kind: "performance" or "quality".
      topic: the page that shows it.
      script: file in benchmarks/, without ".py".
      arguments: its options; names of FILES in braces.
      seconds: what it takes on two CPU cores (or, for a GPU, there), roughly.
      device: "cpu" or "gpu".
      picture: file in benchmarks/ that it draws; "" for none.
      has_baseline: whether it can compare with another checkout.
    """

    name: str
    title: str
    kind: str
    topic: str
    script: str
    arguments: str
    seconds: int
    device: str = "cpu"
    picture: str = ""
    has_baseline: bool = False

    @property
    def command(self) -> str:
        """The command line, with the inputs' file names."""
        return f"python benchmarks/{self.script}.py {self.arguments.format(**FILES)}".strip()

    @property
    def path(self) -> pathlib.Path:
        """The file of its figures."""
        return RESULTS / f"{self.name}.json"


_POPULATION = "--hashes {sophius} --data {cifar10}"

BENCHMARKS = [
    Benchmark(
        "steps",
        "Training step against PyTorch",
        "performance",
        "training",
        "steps",
        "--hashes {sophius} --limit 32",
        400,
        has_baseline=True,
    ),
    Benchmark(
        "operations",
        "Algorithms of a convolution",
        "performance",
        "training",
        "operations",
        "--hashes {sophius} --limit 24 --peer torch",
        1200,
    ),
    Benchmark(
        "optimisations",
        "What each optimisation brings to a step",
        "performance",
        "training",
        "operations",
        "--hashes {sophius} --limit 0 --steps 32 --without algorithms dead_pixels options",
        1200,
    ),
    Benchmark(
        "optimisations_chains",
        "What each optimisation brings to chains of padded 3x3 convolutions",
        "performance",
        "training",
        "operations",
        "--limit 0 --steps 10 --chains --without algorithms dead_pixels options",
        700,
    ),
    Benchmark(
        "programs",
        "Compiling a template, and trials side by side",
        "performance",
        "training",
        "programs",
        "--hashes {sophius} --limit 8 --lanes 1 8",
        240,
    ),
    Benchmark(
        "recipe",
        "Ingredients of the recipe `standard`",
        "quality",
        "recipe",
        "recipe",
        "--data {cifar10} --base 'flips by chance' 'no flips when testing' --seeds 5 "
        "--together 'learning rate 1e-2' 'alternating flips' 'flips when testing'",
        5400,
    ),
    *(
        Benchmark(
            name,
            f"Ingredients of the recipe `fast`, {epochs} epochs",
            "quality",
            "recipe",
            "recipe",
            f"--data {{cifar10}} --recipe fast --hashes benchmarks/templates/chains.csv --limit 3 --epochs {epochs} "
            "--images 2000 --validation 5000 --seeds 5 --only 'AdamW, rate 1e-2' 'no whitened first patches' "
            "'no identity at the start' "
            "'no rate of their own for biases' 'one cycle' 'batches of 128' 'no moved images when testing'",
            seconds,
        )
        for name, epochs, seconds in (("recipe_fast", 5, 900), ("recipe_fast_long", 20, 3200))
    ),
    Benchmark("fidelity", "Short trainings and long ones", "quality", "recipe", "fidelity", "--data {cifar10}", 1500),
    Benchmark(
        "speedrun",
        "Seconds of a known chain to an accuracy of 0.90",
        "quality",
        "recipe",
        "speedrun",
        "--target 0.9 --data {cifar10} --seeds 3",
        2200,
    ),
    Benchmark(
        "speedrun_94",
        "Seconds of a known chain to a test accuracy of 0.94",
        "quality",
        "recipe",
        "speedrun",
        "--target 0.94 --data {cifar10} --seeds 1",
        4200,
    ),
    Benchmark(
        "speedrun_small",
        "Seconds of a known chain of fewer than 150,000 parameters to an accuracy of 0.90",
        "quality",
        "recipe",
        "speedrun",
        "--target 0.9 --max-params 150000 --data {cifar10} --seeds 1",
        1800,
    ),
    Benchmark(
        "population",
        "Population of 32 against PyTorch",
        "performance",
        "population",
        "population",
        f"{_POPULATION} --limit 32 --epochs 2 --images 10000",
        800,
        has_baseline=True,
    ),
    Benchmark(
        "population_12",
        "Population of 12 against PyTorch",
        "performance",
        "population",
        "population",
        f"{_POPULATION} --limit 12 --epochs 2 --images 10000",
        350,
        has_baseline=True,
    ),
    Benchmark(
        "agreement",
        "Agreement with PyTorch",
        "quality",
        "population",
        "population",
        f"{_POPULATION} --limit 64 --epochs 5 --images 5000 --peer-seeds 2 --cold-only",
        2400,
    ),
    Benchmark(
        "predictor_own",
        "Predictor on jnas' own table",
        "quality",
        "predictor",
        "predictor",
        "--table data/table.csv.gz --train 1000 --seeds 3 --models lstm_ensemble gradient_boosting ridge sophius_lstm",
        900,
    ),
    Benchmark(
        "predictor_own_16",
        "Predictor on jnas' own table, 16 rows",
        "quality",
        "predictor",
        "predictor",
        "--table data/table.csv.gz --train 16 --prior-rows 1000 --seeds 3",
        300,
    ),
    Benchmark(
        "predictor_own_40",
        "Predictor on jnas' own table, 40 rows",
        "quality",
        "predictor",
        "predictor",
        "--table data/table.csv.gz --train 40 --prior-rows 1000 --seeds 3",
        300,
    ),
    Benchmark(
        "predictor_sophius_0",
        "Prior on Sophius' table, no row",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius} --train 0 --seeds 1",
        60,
    ),
    Benchmark(
        "predictor_sophius_16",
        "Predictor on Sophius' table, 16 rows",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius} --train 16",
        200,
    ),
    Benchmark(
        "predictor_sophius_40",
        "Predictor on Sophius' table, 40 rows",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius} --train 40",
        200,
    ),
    Benchmark(
        "predictor_sophius",
        "Predictor on Sophius' table",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius}",
        600,
        picture="predictions.png",
    ),
    Benchmark(
        "predictor_metaqnn_16",
        "Predictor on MetaQNN's table, 16 rows",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn} --train 16",
        200,
    ),
    Benchmark(
        "predictor_metaqnn_40",
        "Predictor on MetaQNN's table, 40 rows",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn} --train 40",
        200,
    ),
    Benchmark(
        "predictor_metaqnn_100",
        "Predictor on MetaQNN's table, 100 rows",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn} --train 100",
        300,
    ),
    Benchmark(
        "predictor_metaqnn_0",
        "Predictor on MetaQNN's table, no epoch seen",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn}",
        600,
    ),
    Benchmark(
        "predictor_metaqnn_1",
        "Predictor on MetaQNN's table, one epoch seen",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn} --epochs-seen 1",
        900,
    ),
    Benchmark(
        "predictor_metaqnn_5",
        "Predictor on MetaQNN's table, five epochs seen",
        "quality",
        "predictor",
        "predictor",
        "--table {metaqnn} --epochs-seen 5",
        900,
    ),
    Benchmark(
        "predictor_macro",
        "Predictor on NAS-Bench-Macro",
        "quality",
        "predictor",
        "predictor",
        "--table {macro} --train 1000 --seeds 5",
        300,
    ),
    Benchmark(
        "predictor_ablation",
        "Parts of the predictor",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius} --seeds 4 --ablate",
        600,
    ),
    Benchmark(
        "predictor_curve",
        "Predictor by number of rows",
        "quality",
        "predictor",
        "predictor",
        "--table {sophius} --models jnas --seeds 4 --curve 50 100 200 400",
        400,
    ),
    Benchmark("transfer", "The prior on images that are not CIFAR's", "quality", "predictor", "transfer", "", 300),
    Benchmark("candidates", "Candidates a second", "performance", "predictor", "candidates", "", 180),
    Benchmark(
        "evolve",
        "Evolution on NAS-Bench-Macro",
        "quality",
        "evolution",
        "evolve",
        "--table {macro} --evaluations 100 --repeats 200",
        240,
    ),
    Benchmark("generations", "Individuals a second", "performance", "evolution", "generations", "--repeats 5", 180),
    Benchmark(
        "outcome",
        "Three minutes of search",
        "quality",
        "search",
        "outcome",
        "--minutes 3 --seeds 5",
        2900,
        picture="search.png",
    ),
    Benchmark(
        "outcome_10",
        "Ten minutes of search",
        "quality",
        "search",
        "outcome",
        "--minutes 10 --seeds 5 --kinds search known",
        6300,
    ),
    Benchmark(
        "outcome_60",
        "An hour of search on all of CIFAR-10",
        "quality",
        "search",
        "outcome",
        "--minutes 60 --seeds 3 --kinds search --data {cifar10}",
        11400,
    ),
    Benchmark("cluster", "Ray and pipes, and a thousand workers", "performance", "robustness", "cluster", "", 400),
    Benchmark("soak", "Memory in two hours", "performance", "robustness", "soak", "--minutes 120", 7400),
    Benchmark(
        "gpu_steps",
        "Training step against PyTorch on a GPU",
        "performance",
        "training",
        "steps",
        "--hashes {sophius} --limit 32",
        300,
        "gpu",
    ),
    Benchmark(
        "gpu_programs",
        "Trials side by side on a GPU",
        "performance",
        "training",
        "programs",
        "--hashes {sophius} --limit 8 --lanes 1 8 32",
        240,
        "gpu",
    ),
    Benchmark(
        "gpu_population",
        "Population of 64 against PyTorch on a GPU",
        "performance",
        "population",
        "population",
        f"{_POPULATION} --limit 64 --epochs 5 --images 45000 --peer-seeds 2",
        600,
        "gpu",
    ),
]
