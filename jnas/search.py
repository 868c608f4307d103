"""`python -m jnas.search` is the command `jnas search`; the function `jnas.search` is in `jnas._search.api`."""

import sys

from jnas._cli import main

if __name__ != "__main__":  # its import would put a module in the place of the function
    raise ImportError("jnas.search is a function, no module to import: write `import jnas` and call jnas.search(...).")

sys.exit(main(["search", *sys.argv[1:]]))
