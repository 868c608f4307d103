"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict._base import Regressor
from jnas.predict._ensemble.config import EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams, apply_ensemble, fit_ensemble, predictive_std
from jnas.predict._lstm_ensemble import LSTMEnsemble
from jnas.predict._metrics import Calibration, Scores, calibration, score, to_vectors
from jnas.predict._original_lstm import OriginalLSTM
from jnas.predict._predictor import Predictor
from jnas.predict._prior import Prior
from jnas.predict._shipped import load_table

__all__ = [
    "Calibration",
    "EnsembleConfig",
    "EnsembleParams",
    "LSTMEnsemble",
    "OriginalLSTM",
    "Predictor",
    "Prior",
    "Regressor",
    "Scores",
    "apply_ensemble",
    "calibration",
    "fit_ensemble",
    "load_table",
    "predictive_std",
    "score",
    "to_vectors",
]
