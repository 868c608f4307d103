"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict._base import Regressor
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, apply_ensemble, fit_ensemble, predictive_std
from jnas.predict._metrics import Calibration, Scores, calibration, score, to_vectors
from jnas.predict._original_lstm import OriginalLSTM
from jnas.predict._predictor import Predictor

__all__ = [
    "Calibration",
    "EnsembleConfig",
    "EnsembleParams",
    "OriginalLSTM",
    "Predictor",
    "Regressor",
    "Scores",
    "apply_ensemble",
    "calibration",
    "fit_ensemble",
    "predictive_std",
    "score",
    "to_vectors",
]
