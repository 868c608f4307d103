"""Recipes, trials, and the training of populations on images that live on the device."""

from jnas.train._engine.scheduler import COMPILE_TIMEOUT as COMPILE_TIMEOUT
from jnas.train._engine.scheduler import EngineOptions as EngineOptions
from jnas.train._engine.timing import TimingStats as TimingStats
from jnas.train._evaluate import evaluate as evaluate
from jnas.train._evaluate import run_trials as run_trials
from jnas.train._evaluate import train_modules as train_modules
from jnas.train._inference import accuracy as accuracy
from jnas.train._inference import logits as logits
from jnas.train._inference import predict as predict
from jnas.train._inference import predict_with as predict_with
from jnas.train._latency import latency_ms as latency_ms
from jnas.train._pruning import run_pruned as run_pruned
from jnas.train._recipe import RECIPES as RECIPES
from jnas.train._recipe import Recipe as Recipe
from jnas.train._request import TrainingRequest as TrainingRequest
from jnas.train._request import make_key as make_key
from jnas.train._successive_halving import rungs as rungs
from jnas.train._successive_halving import successive_halving as successive_halving
from jnas.train._trainer import Trainer as Trainer
from jnas.train._trainer import TrainingRun as TrainingRun
from jnas.train._trainer import check_batch as check_batch
from jnas.train._trainer import trained_module as trained_module
from jnas.train._trial import Trial as Trial
from jnas.train._trial import sample_trials as sample_trials
from jnas.train._weights import load_weights as load_weights
from jnas.train._weights import save_weights as save_weights

__all__ = [
    "COMPILE_TIMEOUT",
    "RECIPES",
    "EngineOptions",
    "Recipe",
    "TimingStats",
    "Trainer",
    "TrainingRequest",
    "TrainingRun",
    "Trial",
    "accuracy",
    "check_batch",
    "evaluate",
    "latency_ms",
    "load_weights",
    "logits",
    "make_key",
    "predict",
    "predict_with",
    "run_pruned",
    "run_trials",
    "rungs",
    "sample_trials",
    "save_weights",
    "successive_halving",
    "train_modules",
    "trained_module",
]
