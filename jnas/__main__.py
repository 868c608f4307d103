"""`python -m jnas` is the command `jnas`."""

import sys

from jnas._cli import main

if __name__ == "__main__":
    sys.exit(main())
