"""Recipes, and the training of templates on images that live on the device."""

from jnas.train import weights as weights
from jnas.train.evaluate import evaluate as evaluate
from jnas.train.program import Lane as Lane
from jnas.train.recipe import PRESETS as PRESETS
from jnas.train.recipe import Recipe as Recipe
from jnas.train.trainer import Trained as Trained
from jnas.train.trainer import Trainer as Trainer
from jnas.train.trainer import lanes as lanes
