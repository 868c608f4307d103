"""Run a notebook from its first cell to its last, and fail where it fails; the file is left as it is.

python notebooks/execute.py NOTEBOOK.ipynb [OUT.ipynb]
"""

import pathlib
import sys
import tempfile

import nbformat
from nbclient import NotebookClient


def main(path: str, out: str | None = None) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:  # what the cells write goes with it
        NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
    if out:
        nbformat.write(notebook, out)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{pathlib.Path(path).name}: {cells} code cells ran")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
