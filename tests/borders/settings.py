"""Settings of a search, in Python and on the command line; those that `evaluate` shares; fields of a recipe."""

import jnas
from borders import Row, command, refused

_TRUTH = "True or False"
_RATE = "a finite number > 0"
_COUNT = "an integer from 1 to 1,000,000"
_FRACTION = "a number in (0, 1)"
_LIMIT = ("an integer from 1 to 18,446,744,073,709,551,615", 0, "None is for no limit")
_LAYERS = ("an integer from 1 to 100", 101, "")
_FEW = ("an integer from 1 to 1,000", 0, "")

CONDITIONS = {
    "classes": ("an integer >= 2", 1, ""),
    "size": ("pixels from 1 to 4,096, such as 32, or height x width, such as 48x64", "48y64", ""),
    "fit": ("one of crop, pad, stretch", "squeeze", ""),
    "recipe": ("one of fast, standard, sophius", "quick", ""),
    "batch_size": ("an integer >= 1", 0, ""),
    "learning_rate": (_RATE, -1, ""),
    "val_fraction": (_FRACTION, 1, ""),
    "class_weights": ("one of none, balanced", "all", ""),
    "precision": ("one of float32, bfloat16", "float16", ""),
    "flip": (_TRUTH, 1, ""),
    "alternating_flip": (_TRUTH, 1, ""),
    "shift": ("an integer >= 0", -1, ""),
    "cut_out": ("an integer >= 0", -1, ""),
    "test_shift": ("an integer >= 0", -1, ""),
    "test_flip": (_TRUTH, 1, ""),
    "space": ("one of sophius, modern", "wide", ""),
    "conv_num": _LAYERS,
    "lin_num": _LAYERS,
    "max_params": _LIMIT,
    "max_macs": _LIMIT,
    "max_memory_kb": _LIMIT,
    "max_flash_kb": _LIMIT,
    "compile_timeout": (_RATE, 0, ""),
    "workers": ("a number of processes, ray, ray://HOST:PORT or slurm:COUNT", "slurm", ""),
    "seed": ("an integer from 0 to 4,294,967,295", 4294967296, ""),
    "num_random": ("an integer from 0 to 1,000,000", -1, ""),
    "known_networks": ("True or False", 3, ""),
    "report": ("True or False", 3, ""),
    "train_images": ("an integer >= 1", 0, ""),
    "generations": ("an integer >= 0", -1, ""),
    "minutes": (_RATE, 0, ""),
    "max_trials": ("an integer >= 1", 0, ""),
    "target_accuracy": ("a number in (0, 1]", 90, "write 0.9 for 90 %"),
    "trials_per_generation": (_COUNT, 0, ""),
    "metric": ("one of accuracy, balanced_accuracy, macro_f1, loss", "auc", ""),
    "objectives": ("one of accuracy, macs, params, memory, flash, latency", "size", ""),
    "epochs": (_COUNT, 0, ""),
    "prune_after_epochs": ("an integer >= 0", -1, ""),
    "num_promoted": ("an integer from 0 to 1,000", -1, ""),
    "final_epochs": (_COUNT, 0, ""),
    "final_repeats": _FEW,
    "num_finalists": _FEW,
    "max_latency_ms": (_RATE, 0, ""),
}
"""By setting: what it must be, a value that it must not be, and what to do."""
FLAGS = ("flip", "alternating_flip", "test_flip")
_SHARED = (
    "batch_size",
    "learning_rate",
    "val_fraction",
    "shift",
    "cut_out",
    "test_shift",
    "conv_num",
    "lin_num",
    "max_params",
)
OF_EVALUATE = (
    *_SHARED,
    *FLAGS,
    "recipe",
    "size",
    "fit",
    "class_weights",
    "precision",
    "space",
    "max_macs",
    "max_memory_kb",
    "max_flash_kb",
    "workers",
    "compile_timeout",
    "seed",
    "epochs",
)
_RECIPE = {
    "optimizer": ("one of adamw, sgd, muon", "adam", ""),
    "weight_decay": ("a finite number >= 0", -1, ""),
    "schedule": ("one of one_cycle, triangular, exponential, constant", "linear", ""),
    "lr_decay": ("a number in (0, 1]", 2, ""),
    "label_smoothing": ("a number in [0, 1)", 1, ""),
    "norm_bias_rate": ("a finite number > 0", 0, ""),
    "train_images": ("an integer >= 1", 0, ""),
    "init": ("one of default, dirac", "zeros", ""),
    "whiten": (_TRUTH, 1, ""),
}
_OF_RECIPE = (
    "class_weights",
    "epochs",
    "batch_size",
    "learning_rate",
    "flip",
    "alternating_flip",
    "shift",
    "cut_out",
    "test_shift",
    "val_fraction",
    "precision",
)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _in_python(make, subject, conditions) -> list[Row]:
    """Of each field: an object of another type, and a value that is out of range."""
    rows = []
    for name, (condition, wrong, hint) in conditions.items():
        shown = repr(wrong)
        rows += [
            Row(
                f"{subject}.{name}",
                "wrong value",
                lambda _, n=name, w=wrong: make(**{n: w}),
                refused(name, condition, shown, hint),
            ),
        ]
        if name != "objectives":
            rows.append(
                Row(
                    f"{subject}.{name}",
                    "wrong type",
                    lambda _, n=name: make(**{n: b"3"}),
                    refused(name, condition, "b'3'", hint),
                )
            )
    return rows


def _on_the_command_line() -> list[Row]:
    rows = []
    for name, (condition, wrong, hint) in CONDITIONS.items():
        flag = _flag(name)
        for command_name in ("search",) + ("evaluate",) * (name in OF_EVALUATE):
            subject, rest = f"{command_name} {flag}", ("--random", "1") * (command_name == "evaluate")
            if name in (*FLAGS, "known_networks", "report"):
                words = (command_name, f"{flag}s", *rest)
                sentence = f"'{flag}s' is no option of jnas {command_name}: perhaps you mean {flag}."
                rows.append(Row(subject, "wrong value", lambda _, w=words: command(*w), sentence))
                continue
            for kind, value in (("wrong value", wrong), ("wrong type", "x")):
                words = (command_name, flag, str(value), *rest)
                sentence = refused(name, condition, repr(value), hint)
                rows.append(Row(subject, kind, lambda _, w=words: command(*w), sentence))
    return rows


ROWS = [
    *_in_python(jnas.SearchConfig, "SearchConfig", CONDITIONS),
    *_in_python(jnas.search, "search", CONDITIONS),
    *_in_python(jnas.Recipe, "Recipe", _RECIPE | {name: CONDITIONS[name] for name in _OF_RECIPE}),
    *_on_the_command_line(),
    Row("Recipe.test_flip", "wrong value", lambda _: jnas.Recipe(test_flip=1), refused("test_flip", _TRUTH, 1)),
    Row(
        "search.objectives",
        "wrong type",
        lambda _: jnas.search(objectives=3),
        "objectives must be names among accuracy, macs, params, memory, flash, latency, got 3.",
    ),
    *(
        Row(
            f"{name} {word}",
            "wrong value",
            lambda _, n=name, w=word: command(n, w, "3"),
            f"'{word}' is no option of jnas {name}: {hint}.",
        )
        for name, word, hint in (
            ("search", "--epoch", "perhaps you mean --epochs"),
            ("search", "--xyz", "`jnas search --help` shows all"),
            ("search", "cifar10", "`jnas search --help` shows all"),
            ("store", "--tables", "perhaps you mean --table"),
        )
    ),
]
