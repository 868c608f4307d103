"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict._base import Regressor as Regressor
from jnas.predict._ensemble import Settings as Settings
from jnas.predict._ensemble import apply as apply
from jnas.predict._metrics import Calibration as Calibration
from jnas.predict._metrics import Scores as Scores
from jnas.predict._metrics import calibration as calibration
from jnas.predict._metrics import score as score
from jnas.predict._original_lstm import OriginalLSTM as OriginalLSTM
from jnas.predict._predictor import Predictor as Predictor

__all__ = [
    "Calibration",
    "OriginalLSTM",
    "Predictor",
    "Regressor",
    "Scores",
    "Settings",
    "apply",
    "calibration",
    "score",
]
