"""Claims and tables of each benchmark, in Markdown, from the figures that its script writes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

PREDICTORS = {
    "predictor_own": "jnas' own table, 1,000 rows train",
    "predictor_own_16": "jnas' own table, 16 rows train, a prior of 1,000 others",
    "predictor_own_40": "jnas' own table, 40 rows train, a prior of 1,000 others",
    "predictor_sophius_0": "Sophius' table, no row trains",
    "predictor_sophius_16": "Sophius' table, 16 rows train",
    "predictor_sophius_40": "Sophius' table, 40 rows train",
    "predictor_sophius": "Sophius' table, 400 rows train",
    "predictor_metaqnn_16": "MetaQNN's table, 16 rows train",
    "predictor_metaqnn_40": "MetaQNN's table, 40 rows train",
    "predictor_metaqnn_100": "MetaQNN's table, 100 rows train",
    "predictor_metaqnn_0": "MetaQNN's table, 400 rows train, no epoch seen",
    "predictor_metaqnn_1": "MetaQNN's table, one epoch seen",
    "predictor_metaqnn_5": "MetaQNN's table, five epochs seen",
    "predictor_macro": "NAS-Bench-Macro, 1,000 rows train",
}
MODELS = {
    "jnas": "jnas",
    "lstm_ensemble": "without prior",
    "gradient_boosting": "boosting",
    "ridge": "ridge",
    "sophius_lstm": "LSTM of Sophius",
}


class Claim(NamedTuple):
    """A row of the page: what is claimed, its value with its spread, and over how many."""

    text: str
    value: str
    n: str


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    """Returns a Markdown table; "|" separates the header's columns, and one that ends with ":" is right-aligned."""
    names = header.split("|")
    lines = ["| " + " | ".join(name.strip().removesuffix(":") for name in names) + " |"]
    lines.append("|" + "|".join("---:" if name.strip().endswith(":") else "---" for name in names) + "|")
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def spread(ratio: dict) -> str:
    """Returns a geometric mean with its lowest and highest."""
    return f"{ratio['mean']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def plus_minus(mean: float, std: float, digits: int = 3) -> str:
    """Returns a mean and its standard deviation."""
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def count(number: float) -> str:
    """Returns a number with separators."""
    return f"{number:,.0f}"


def steps_claims(figures: dict) -> list[Claim]:
    claims = []
    for key, peer in (("ratio_torch", "PyTorch"), ("ratio_baseline", f"commit {figures.get('baseline_commit')}")):
        if key in figures:
            ratio = figures[key]["all"]
            text = f"Training step: time of {peer} over jnas', geometric mean (lowest to highest)"
            claims.append(Claim(text, spread(ratio), f"{ratio['n']} templates"))
    return claims


def steps_table(figures: dict) -> str:
    keys = [key for key in ("ratio_torch", "ratio_baseline") if key in figures]
    names = {"ratio_torch": "PyTorch / jnas:", "ratio_baseline": "other checkout / jnas:"}
    rows = [
        [size, figures[keys[0]][size]["n"], *(spread(figures[key][size]) for key in keys)] for size in figures[keys[0]]
    ]
    return table("templates|n:|" + "|".join(names[key] for key in keys), rows)


def operations_claims(figures: dict) -> list[Claim]:
    n = f"{figures['convolutions']} convolutions"
    lost, gained = figures["lost"]["together"], figures["gained"]["together"]
    claims = [
        Claim("Convolutions: time of the chosen algorithms over the fastest of each", f"{lost:.2f}", n),
        Claim("Convolutions: time of XLA's own over the chosen algorithms", f"{gained:.2f}", n),
    ]
    if "torch_over_fastest" in figures:
        claims.append(Claim("Convolutions: PyTorch over the fastest", f"{figures['torch_over_fastest']:.2f}", n))
    return claims


def operations_table(figures: dict) -> str:
    rows = [[claim.text.removeprefix("Convolutions: "), claim.value] for claim in operations_claims(figures)]
    return table("all together|ratio:", rows)


def optimisations_claims(figures: dict) -> list[Claim]:
    names = {"algorithms": "algorithms of its own for convolutions", "dead_pixels": "leaving out pixels never read"}
    n = f"{len(figures['steps'])} templates"
    return [
        Claim(f"Training step: time without {text} over jnas'", f"{figures['step_ratios'][name]['geomean']:.2f}", n)
        for name, text in names.items()
        if name in figures["step_ratios"]
    ]


def optimisations_table(figures: dict) -> str:
    rows = [
        [name.replace("_", " "), f"{ratio['geomean']:.2f}", f"{ratio['together']:.2f}"]
        for name, ratio in figures["step_ratios"].items()
    ]
    return table("a step without|geometric mean:|all steps together:", rows)


def programs_claims(figures: dict) -> list[Claim]:
    seconds = f"{figures['compile_seconds']:.2f} s"
    return [Claim("Compiling a template's training programs, one thread", seconds, f"{figures['templates']} templates")]


def programs_table(figures: dict) -> str:
    lanes = sorted({row["lanes"] for row in figures["steps"]})
    rows: dict[str, dict] = {}
    for row in figures["steps"]:
        rows.setdefault(row["hash"], {"macs": row["macs"]})[row["lanes"]] = row["ms"]
    header = "M MACs:|" + "|".join(f"{n} side by side, ms a step and trial:" for n in lanes)
    return table(header, ([f"{row['macs'] / 1e6:.2f}", *(f"{row[n]:.2f}" for n in lanes)] for row in rows.values()))


def recipe_claims(figures: dict) -> list[Claim]:
    row = figures["recipes"].get("together")
    if not row:
        return []
    gain = f"{row['gain_mean']:+.4f} ± {row['gain_std']:.4f}"
    return [
        Claim("Recipe: learning rate 1e-2 and both kinds of flips together, gain", gain, f"{figures['trials']} seeds")
    ]


def recipe_table(figures: dict) -> str:
    rows = [
        [
            name,
            plus_minus(row["val_acc_mean"], row["val_acc_std"], 4),
            f"{row['gain_mean']:+.4f} ± {row['gain_std']:.4f}",
        ]
        for name, row in figures["recipes"].items()
    ]
    return table("one thing changed|validation accuracy:|gain:", rows)


def speedrun_claims(figures: dict) -> list[Claim]:
    seconds, target = figures["seconds_to_target"], figures["target"]
    reached = "not in each run" if seconds is None else f"{seconds / 60:.1f} min"
    chain = f"A known chain of {count(figures['params'])} parameters"
    split = "test" if figures["val_acc"] is None else "validation"
    text = f"{chain}: minutes from the start of Python to a {split} accuracy of {target:.2f}"
    return [Claim(text, reached, f"{len(figures['runs'])} seed{'s' * (len(figures['runs']) > 1)}")]


def speedrun_table(figures: dict) -> str:
    rows = [
        [
            row["seed"],
            "not reached" if row["seconds_to_target"] is None else f"{row['seconds_to_target']:.0f}",
            f"{row['seconds']:.0f}",
            "-" if row["val_acc"] is None else f"{row['val_acc']:.4f}",
            f"{row['test_acc']:.4f}",
        ]
        for row in figures["runs"]
    ]
    return table("seed|seconds to the target:|seconds in all:|validation accuracy:|test accuracy:", rows)


def population_claims(figures: dict) -> list[Claim]:
    n = f"{figures['templates']} templates"
    ratios = {"cold cache": "ratio_total", "warm cache": "ratio_total_warm", "training alone": "ratio_train"}
    value = ", ".join(f"{figures[key]:.2f} ({name})" for name, key in ratios.items() if key in figures)
    claims = [Claim(f"Population of {figures['templates']}: seconds of PyTorch over jnas'", value, n)]
    if "baseline" in figures:
        other = figures["baseline"]
        keys = {"cold cache": "ratio_total", "warm cache": "ratio_warm", "training alone": "ratio_train"}
        value = ", ".join(f"{other[key]:.2f} ({name})" for name, key in keys.items() if key in other)
        claims.append(Claim(f"The same: seconds of commit {other['commit']} over jnas'", value, n))
    return claims


def population_table(figures: dict) -> str:
    ours, torch = figures["jnas"], figures["torch"]
    rows = [
        ["jnas, cold cache", f"{ours['seconds']:.1f}", f"{ours['waiting_seconds']:.1f}", "", ""],
        ["PyTorch", f"{torch['seconds']:.1f}", "0", f"{torch['train_seconds']:.1f}", count(torch["images_per_second"])],
    ]
    if "warm_seconds" in ours:
        speed = count(ours["images_per_second"])
        rows.insert(1, ["jnas, warm", f"{ours['warm_seconds']:.1f}", "", f"{ours['train_seconds']:.1f}", speed])
    return table("|seconds in all:|waiting for the compiler:|training alone:|images/s:", rows)


def agreement_claims(figures: dict) -> list[Claim]:
    found = figures["agreement"]
    value = f"{found['jnas_torch']:.3f}"
    if "torch_torch" in found:
        value += f" (PyTorch under two seeds: {found['torch_torch']:.3f})"
    text = "Rank correlation of final validation accuracies, jnas and PyTorch on the same batches"
    return [Claim(text, value, f"{figures['templates']} templates")]


def agreement_table(figures: dict) -> str:
    names = {
        "jnas_torch": "jnas and PyTorch, the same batches",
        "jnas_torch_other_seed": "jnas and PyTorch under another seed",
        "torch_torch": "PyTorch and itself under another seed",
    }
    found = figures["agreement"]
    rows = [[names[key], f"{found[key]:.3f}"] for key in names if key in found]
    return table("Spearman correlation of validation accuracies after the last epoch|:", rows)


def gpu_population_claims(figures: dict) -> list[Claim]:
    return population_claims(figures) + agreement_claims(figures)


def gpu_population_table(figures: dict) -> str:
    return population_table(figures) + "\n\n" + agreement_table(figures)


def predictor_claims(name: str) -> Callable[[dict], list[Claim]]:
    """Returns the claims of one benchmark of the predictor."""

    def claims(figures: dict) -> list[Claim]:
        row = figures["models"].get("jnas") or figures["models"]["lstm_ensemble"]
        return [Claim(f"Predictor, {PREDICTORS[name]}: R², τ", _r2_tau(row), f"{len(row['r2_runs'])} splits")]

    return claims


def predictor_table(figures: dict) -> str:
    rows = [
        [MODELS.get(name, name), *(plus_minus(row[key], row[f"{key}_std"]) for key in ("r2", "tau", "coverage_1std"))]
        for name, row in sorted(figures["models"].items(), key=lambda item: -item[1]["r2"])
    ]
    return table("model|R²:|Kendall's τ:|errors within one standard deviation:", rows)


def predictors_table(results: dict[str, dict]) -> str:
    """Returns R² and τ of all models on the tables of several benchmarks, by name of the benchmark."""
    models = [name for name in MODELS if any(name in figures["models"] for figures in results.values())]
    rows = []
    for benchmark, figures in results.items():
        cells = [PREDICTORS[benchmark]]
        for name in models:
            row = figures["models"].get(name)
            short = row and name != "jnas" and f"{row['r2']:.3f}, {row['tau']:.3f}"
            cells.append(short or (row and f"**{_r2_tau(row)}**") or "")
        rows.append(cells)
    return table("table: R², τ|" + "|".join(f"{MODELS[name]}:" for name in models), rows)


def _r2_tau(row: dict) -> str:
    return f"{plus_minus(row['r2'], row['r2_std'])}, {plus_minus(row['tau'], row['tau_std'])}"


def curve_table(figures: dict) -> str:
    rows = [
        [size, *(plus_minus(*row[key]) for key in ("r2", "kendall_tau"))]
        for size, row in figures["learning_curve"].items()
    ]
    folds = figures["cross_validation"]
    rows.append(["5-fold cross validation", *(plus_minus(*folds[key]) for key in ("r2", "kendall_tau"))])
    return table("training rows|R²:|Kendall's τ:", rows)


def transfer_claims(figures: dict) -> list[Claim]:
    claim = "Prior without a row on digits of 8x8 pixels: Kendall's τ (of the logarithm of MACs alone: {:.2f})"
    return [Claim(claim.format(figures["tau_of_macs"]), f"{figures['tau']:.2f}", f"{figures['rows']} networks")]


def transfer_table(figures: dict) -> str:
    rows = [["the prior", f"{figures['tau']:.3f}"], ["logarithm of MACs", f"{figures['tau_of_macs']:.3f}"]]
    return table("what orders the networks|Kendall's τ:", rows)


def candidates_claims(figures: dict) -> list[Claim]:
    value = f"{count(figures['candidates_per_second_default'])} / s"
    return [
        Claim("Random candidates generated, encoded and predicted by the default predictor", value, "7 runs, median")
    ]


def candidates_table(figures: dict) -> str:
    parts = figures["parts"]
    rows = [
        [label, *(count(parts[name][key]) for key in ("candidates_per_second", "generate", "encode", "predict"))]
        for name, label in (
            ("original_size", "a predictor of the original's size"),
            ("default", "default, all members"),
        )
    ]
    return table("candidates a second|all three:|generate:|encode:|predict:", rows)


def evolve_claims(figures: dict) -> list[Claim]:
    row = figures["algorithms"].get("jnas")
    if not row:
        return []
    share = f"{row['optimum_share']:.0%}"
    value = f"{plus_minus(row['test_mean'], row['test_std'])} (optimum in {share})"
    return [Claim("Guided evolution on NAS-Bench-Macro: mean test accuracy of what it finds", value, "200 repeats")]


def evolve_table(figures: dict) -> str:
    rows = [
        [
            name,
            *(f"{row[key]:.3f}" for key in ("test_mean", "test_std", "regret_mean")),
            f"{row['optimum_share']:.0%}",
            f"{row['seconds']:.0f}",
        ]
        for name, row in sorted(figures["algorithms"].items(), key=lambda item: -item[1]["test_mean"])
    ]
    return table("algorithm|mean `test`:|standard deviation:|regret:|optimum found:|seconds:", rows)


def generations_claims(figures: dict) -> list[Claim]:
    size = max(figures, key=int)
    value = f"{count(figures[size]['individuals_per_second_without_predict'])} / s"
    return [Claim(f"Evolution of {count(int(size))} genomes: ask, encode and tell", value, "5 generations, median")]


def generations_table(figures: dict) -> str:
    rows = []
    for size, row in figures.items():
        parts = [f"{row[f'{key}_seconds']:.4f}" for key in ("ask", "encode", "tell")]
        with_predict = count(row["individuals_per_second"]) if "individuals_per_second" in row else ""
        rows.append([count(int(size)), *parts, count(row["individuals_per_second_without_predict"]), with_predict])
    return table("genomes:|ask, s:|encode, s:|tell, s:|individuals/s:|with all members predicting:", rows)


def outcome_claims(figures: dict, images: str = "5,000 images") -> list[Claim]:
    num_runs = len(figures["runs"])
    found, n = figures["summary"].get("search"), f"{num_runs} seed{'s' * (num_runs > 1)}"
    if found is None:
        return []
    mean, std = found["test_acc"]["mean"], found["test_acc"]["std"]
    test = plus_minus(mean, std) if num_runs > 1 else f"{mean:.3f}"
    text = f"Test accuracy of a search of {figures['minutes']:g} minutes on {images}"
    known = figures["summary"].get("known")
    beside = f" (the best hand-made network with the same time: {known['test_acc']['mean']:.3f})" if known else ""
    return [Claim(text + beside, test, n)]


def outcome_table(figures: dict) -> str:
    names = {"search": "search", "known": "the best hand-made network", "random": "random search"}
    rows = []
    for kind, row in figures["summary"].items():
        accuracies = [plus_minus(row[name]["mean"], row[name]["std"]) for name in ("val_acc", "test_acc")]
        costs = [count(row[name]["mean"]) for name in ("params", "macs", "trials")]
        ahead = f"{row['search_ahead']} of {row['of']}" if "search_ahead" in row else ""
        rows.append([names[kind], *accuracies, *costs, f"{row['seconds']['mean']:.0f}", ahead])
    return table("|validation:|test:|params:|MACs:|networks tried:|seconds:|search ahead:", rows)


def soak_claims(figures: dict) -> list[Claim]:
    minutes, trained = f"{figures['minutes']:.0f} minutes", sum(figures["evaluations"].values())
    value = ", ".join(f"{grown:+.1%} ({name})" for name, grown in figures["growth"].items())
    text = "Growth of resident memory: medians of the last and the second ten minutes"
    return [Claim(text, value, f"{minutes}, {trained} templates")]


def soak_table(figures: dict) -> str:
    keys = ("driver_mib", "workers_mib", "together_mib")
    rows = [[f"{row['minute']:.0f}", *(count(row[key]) for key in keys)] for row in figures["windows"][:-1]]
    return table("from minute:|process, MiB:|workers, MiB:|together, MiB:", rows)


def cluster_claims(figures: dict) -> list[Claim]:
    served = max(figures["served"], key=lambda row: row["with_store"])
    return [
        Claim(
            "64 small templates by Ray, seconds / by pipes (two workers, after their start)",
            f"{figures['ray_to_pipes']:.2f}",
            f"{figures['ray_seconds']:.0f} and {figures['pipes_seconds']:.0f} s",
        ),
        Claim(
            "Trials a second that one driver serves, with a store",
            f"{served['with_store']:.0f}",
            f"{count(served['workers'])} workers that sleep {figures['sleep_seconds']:g} s a trial",
        ),
    ]


def cluster_table(figures: dict) -> str:
    rows = [
        [count(row["workers"]), *(f"{row[key]:.1f}" for key in ("asked", "with_store", "without"))]
        for row in figures["served"]
    ]
    return table("workers that sleep:|trials a second they can do:|served, with a store:|without:", rows)


def fidelity_table(figures: dict) -> str:
    rows = [
        [name, *(f"{row[key]:.3f}" for key in ("short_mean", "long_mean")), plus_minus(row["kendall_tau"], row["std"])]
        for name, row in figures.items()
    ]
    return table("recipe|mean after the short one:|after the long one:|Kendall's τ of the two:", rows)


RENDERERS: dict[str, tuple[Callable[[dict], list[Claim]] | None, Callable[[dict], str]]] = {
    "steps": (steps_claims, steps_table),
    "gpu_steps": (steps_claims, steps_table),
    "operations": (operations_claims, operations_table),
    "optimisations": (optimisations_claims, optimisations_table),
    "optimisations_chains": (None, optimisations_table),
    "programs": (programs_claims, programs_table),
    "gpu_programs": (programs_claims, programs_table),
    "recipe": (recipe_claims, recipe_table),
    "recipe_fast": (None, recipe_table),
    "recipe_fast_long": (None, recipe_table),
    "fidelity": (None, fidelity_table),
    **dict.fromkeys(("speedrun", "speedrun_94", "speedrun_small"), (speedrun_claims, speedrun_table)),
    "population": (population_claims, population_table),
    "population_12": (population_claims, population_table),
    "gpu_population": (gpu_population_claims, gpu_population_table),
    "agreement": (agreement_claims, agreement_table),
    **{name: (predictor_claims(name), predictor_table) for name in PREDICTORS},
    "predictor_ablation": (None, predictor_table),
    "predictor_curve": (None, curve_table),
    "transfer": (transfer_claims, transfer_table),
    "candidates": (candidates_claims, candidates_table),
    "evolve": (evolve_claims, evolve_table),
    "generations": (generations_claims, generations_table),
    "outcome": (outcome_claims, outcome_table),
    "outcome_10": (outcome_claims, outcome_table),
    "outcome_60": (functools.partial(outcome_claims, images="all of CIFAR-10"), outcome_table),
    "cluster": (cluster_claims, cluster_table),
    "soak": (soak_claims, soak_table),
}
