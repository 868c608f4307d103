"""The site: `pip install -e '.[docs]' && sphinx-build -W docs site`. It builds without a network."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sphinx.ext.napoleon.docstring import GoogleDocstring

import jnas
from jnas._cli import COMMANDS
from jnas._cli._options import read_docstrings

DOCS = Path(__file__).parent
ROOT = DOCS.parent
COPIED = ("benchmarks", "notebooks", "data", "CONTRIBUTING.md", "CHANGELOG.md")
"""Pages that are kept elsewhere in the repository; they are part of the site under the same path."""
CONTENTS = {"decisions/README": "[0-9]*", "benchmarks/README": "topics/*"}
"""Pages that list others, which the repository shows as a folder."""

project = "jnas"
author = "the authors of jnas"
version = release = jnas.__version__
extensions = [
    *("sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx", "sphinx.ext.viewcode", "myst_nb"),
]
exclude_patterns = ["**/__pycache__"]
default_role = "code"  # of single backticks in docstrings
smartquotes = False  # it makes dashes of the names of options
html_theme = "furo"
html_title = "jnas"
html_show_sourcelink = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are kept with their outputs; CI runs them
suppress_warnings = ["myst.header"]

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
# Other projects' pages are linked where JNAS_DOCS_ONLINE is set: that needs a network.
intersphinx_mapping = {
    name: ("https://docs.jax.dev/en/latest/" if name == "jax" else f"https://{name}.readthedocs.io/en/latest/", None)
    for name in ("jax", "flax", "optax")
    if "JNAS_DOCS_ONLINE" in os.environ
}


def copy_pages() -> None:
    """Copies the pages of `COPIED` to where Sphinx looks for them."""
    for name in COPIED:
        source, target = ROOT / name, DOCS / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            for path in [*source.rglob("*.md"), *source.glob("*.png"), *source.glob("*.ipynb")]:
                inside = path.relative_to(source)
                if inside.parts[0] not in ("prose", "tests"):
                    copy = target / inside
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, copy)
        else:
            shutil.copy(source, target)


def move_links(app, docname, source) -> None:
    """Makes links of a page, which are right in the repository, right on the site: there `docs/` is the root."""
    copied = docname.split("/")[0] in {name.removesuffix(".md") for name in COPIED}
    folder = (Path("." if copied else "docs") / docname).parent

    def move(match: re.Match) -> str:
        target, _, anchor = match[2].partition("#")
        path = os.path.normpath(folder / target)
        path = {"README.md": "index.md", "docs/decisions": "docs/decisions/README.md"}.get(path, path)
        site = path.removeprefix("docs/")
        moved = os.path.relpath(site, Path(docname).parent)
        return f"{match[1]}({moved}{'#' * bool(anchor)}{anchor})"

    source[0] = re.sub(r"(!?\[[^\]]*\])\(((?!https?:|#|mailto:)[^)\s]+)\)", move, source[0])
    if docname in CONTENTS:
        source[0] += f"\n```{{toctree}}\n:glob:\n:titlesonly:\n\n{CONTENTS[docname]}\n```\n"
    if docname == "reference/settings":
        source[0] = source[0].replace("{{ settings }}", describe_settings())
    if docname == "reference/command-line":
        source[0] = source[0].replace("{{ commands }}", describe_commands())


def describe_commands() -> str:
    """What `--help` prints of each command."""
    parts = []
    for name in COMMANDS:
        command = [sys.executable, "-m", "jnas", name, "--help"]
        environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "JAX_PLATFORMS": "cpu"}
        text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        parts.append(f"## jnas {name}\n\n```text\n{text.strip()}\n```")
    return "\n\n".join(parts)


def describe_settings() -> str:
    """What each setting of a search is, in the order of the code: first those of a search alone."""
    fields = {field.name: field for field in dataclasses.fields(jnas.SearchConfig)}
    texts = read_docstrings(jnas.SearchConfig)
    own = [name for name in jnas.SearchConfig.__annotations__ if name in fields]
    parts = []
    for name in (*own, *(name for name in fields if name not in own)):
        parts.append(f"`{name}` (by default {fields[name].default!r})\n: {texts[name]}")
    return "\n\n".join(parts)


def setup(app) -> None:
    copy_pages()
    # In a text on an attribute, what is before a colon is no type.
    GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end
    app.connect("source-read", move_links)
