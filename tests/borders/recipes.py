"""Recipes."""

import jnas
from borders import Row

ROWS = [
    Row("Recipe.epochs", "wrong type", lambda _: jnas.Recipe(epochs="3"), "epochs must be an integer >= 1, got '3'."),
]
