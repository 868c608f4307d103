"""Recipes, trials, and the training of populations on images that live on the device."""

from jnas.train._engine.executor import to_workers, wait_for_workers
from jnas.train._engine.scheduler import EngineOptions
from jnas.train._engine.timing import TimingStats
from jnas.train._evaluate import evaluate, run_pruned, run_stream, run_trials, train_modules
from jnas.train._inference import accuracy, latency_ms, logits, predict, probabilities
from jnas.train._recipe import AUGMENTATION, RECIPES, Recipe
from jnas.train._request import TrainingRequest, make_key
from jnas.train._successive_halving import HalvingSchedule, successive_halving
from jnas.train._trainer import CURVE_IMAGES, Trainer, TrainingRun, check_batch, trained_module
from jnas.train._trial import Trial, sample_trials
from jnas.train._views import ONE_VIEW, Views
from jnas.train._weights import load_weights, save_weights

__all__ = [
    "AUGMENTATION",
    "CURVE_IMAGES",
    "ONE_VIEW",
    "RECIPES",
    "EngineOptions",
    "HalvingSchedule",
    "Recipe",
    "TimingStats",
    "Trainer",
    "TrainingRequest",
    "TrainingRun",
    "Trial",
    "Views",
    "accuracy",
    "check_batch",
    "evaluate",
    "latency_ms",
    "load_weights",
    "logits",
    "make_key",
    "predict",
    "probabilities",
    "run_pruned",
    "run_stream",
    "run_trials",
    "sample_trials",
    "save_weights",
    "successive_halving",
    "to_workers",
    "train_modules",
    "trained_module",
    "wait_for_workers",
]
