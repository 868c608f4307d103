"""Recipes."""

import jnas
from borders import Row

ROWS = [
    Row(
        "Recipe.epochs",
        "wrong type",
        lambda _: jnas.Recipe(epochs="3"),
        "epochs must be an integer from 1 to 1,000,000, got '3'.",
    ),
]
