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
    Row(
        "Recipe.init",
        "wrong value",
        lambda _: jnas.Recipe(init="identity"),
        "init must be one of default, dirac, got 'identity'.",
    ),
    Row("Recipe.whiten", "wrong type", lambda _: jnas.Recipe(whiten=1), "whiten must be True or False, got 1."),
]
