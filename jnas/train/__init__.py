"""Recipes, trials, and the training of populations on images that live on the device."""

from jnas.train import weights as weights
from jnas.train.calibration import calibrate as calibrate
from jnas.train.evaluate import evaluate as evaluate
from jnas.train.halving import rungs as rungs
from jnas.train.halving import successive_halving as successive_halving
from jnas.train.latency import latency_ms as latency_ms
from jnas.train.recipe import RECIPES as RECIPES
from jnas.train.recipe import Recipe as Recipe
from jnas.train.schedule import Watch as Watch
from jnas.train.trainer import Run as Run
from jnas.train.trainer import Trainer as Trainer
from jnas.train.trial import Trial as Trial
from jnas.train.trial import sample_trials as sample_trials
