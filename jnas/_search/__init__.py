"""The search: `api` has the function `jnas.search`, `loop` the rounds, the other modules a part each."""
