"""The command `jnas`: this module reads the words, the others are a subcommand each: its `Options`, and `run`."""

import argparse
import importlib
import sys

import tyro

import jnas
from jnas._runtime.compilation_cache import use_compilation_cache
from jnas._runtime.malloc import tune_malloc
from jnas.errors import JnasError

COMMANDS = {
    "search": "Find a small image classifier.",
    "evaluate": "Train given templates, or random ones.",
    "export": "Write a trained template as files that need no jnas.",
    "store": "Show what a file of results holds, or write it as Parquet or CSV.",
    "cache": "Show or empty the caches of compiled programs.",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand, and returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words == ["--version"]:
        print(f"jnas {jnas.__version__}")
        return 0
    description = "Neural architecture search for small image classifiers. `jnas --version` prints the version."
    parser = argparse.ArgumentParser("jnas", description=description)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    name = parser.parse_args(words[:1] or ["--help"]).command
    command = importlib.import_module(f"jnas._cli.{name}")  # only this one: some need seconds to be imported
    tune_malloc()
    use_compilation_cache()
    try:
        default = command.defaults(words[1:]) if name == "search" else None  # a preset's
        options = tyro.cli(command.Options, prog=f"jnas {name}", args=words[1:], default=default)
        return command.run(options) or 0
    except JnasError as error:
        print(f"jnas: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njnas: stopped.", file=sys.stderr)
        return 130
