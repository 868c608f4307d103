"""Recipes, trials, and the training of populations on images that live on the device."""

from jnas.train import _weights as _weights
from jnas.train._engine.scheduler import Watch as Watch
from jnas.train._evaluate import evaluate as evaluate
from jnas.train._latency import latency_ms as latency_ms
from jnas.train._recipe import RECIPES as RECIPES
from jnas.train._recipe import Recipe as Recipe
from jnas.train._successive_halving import rungs as rungs
from jnas.train._successive_halving import successive_halving as successive_halving
from jnas.train._trainer import Run as Run
from jnas.train._trainer import Trainer as Trainer
from jnas.train._trial import Trial as Trial
from jnas.train._trial import sample_trials as sample_trials
from jnas.train.calibration import calibrate as calibrate
