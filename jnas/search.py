"""What `python -m jnas.search` runs; the function `jnas.search` is in `jnas._search`."""

from jnas._search.__main__ import main

if __name__ == "__main__":
    main()
