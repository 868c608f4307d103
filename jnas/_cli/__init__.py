"""The command `jnas`: this module reads the words, the others are a subcommand each: its `Options`, and `run`."""

import argparse
import contextlib
import difflib
import glob
import importlib
import io
import os
import sys

import jnas
from jnas._validation import shown
from jnas.errors import JnasError

COMMANDS = {
    "search": "Find a small image classifier.",
    "show": "Print what a search found, or has found so far.",
    "evaluate": "Train given templates, or random ones.",
    "predict": "Classify pictures by the winner of a search.",
    "export": "Write a trained template as files that need no jnas.",
    "latency": "Time ONNX models on this machine.",
    "report": "Write the page of a search, or of several side by side.",
    "store": "Show what a file of results holds, or write it as Parquet or CSV.",
    "cache": "Show or empty the caches of compiled programs and pictures.",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand, and returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character shows another one
            stream.reconfigure(errors="replace")
    try:
        return _run(words)
    except JnasError as error:
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njnas: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read the output has enough
        return 0
    finally:
        _close_output()


def _run(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if words and (words[-1] == "--version" or words == ["version"]):
        print(f"jnas {jnas.__version__}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        _print_help()
        return 0
    name = words[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else "`jnas --help` says what each does."
        raise JnasError(f"The command must be one of {', '.join(COMMANDS)}, got {shown(name)}; {hint}")
    if len(glob.glob("/dev/nvidia[0-9]*")) > 1:  # workers have the memory of the first GPU, too
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax  # noqa: F401
    except ValueError as error:  # a setting in the environment
        got = shown(str(error))
        raise JnasError(f"JAX must be able to read its settings, got {got}; change or unset it.") from error
    command = importlib.import_module(f"jnas._cli.{name}")  # only this one: some need seconds to be imported

    from jnas._cli._options import read_options
    from jnas._runtime.compilation_cache import use_compilation_cache
    from jnas._runtime.malloc import tune_malloc

    tune_malloc()
    use_compilation_cache()
    default = command.defaults(words[1:]) if name == "search" else None  # a preset's
    options = read_options(command.Options, f"jnas {name}", words[1:], default)
    return command.run(options) or 0


def _print_help() -> None:
    description = "Neural architecture search for small image classifiers. `jnas --version` prints the version."
    parser = argparse.ArgumentParser("jnas", description=description)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    parser.print_help()


def _close_output() -> None:
    """Writes what is left, so that Python has nothing to complain of at its end where nobody reads it any more."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
