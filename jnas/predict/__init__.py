"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict._base import Regressor as Regressor
from jnas.predict._ensemble.config import EnsembleConfig as EnsembleConfig
from jnas.predict._ensemble.ensemble import EnsembleParams as EnsembleParams
from jnas.predict._ensemble.ensemble import apply_ensemble as apply_ensemble
from jnas.predict._ensemble.ensemble import fit_ensemble as fit_ensemble
from jnas.predict._ensemble.ensemble import predictive_std as predictive_std
from jnas.predict._metrics import Calibration as Calibration
from jnas.predict._metrics import Scores as Scores
from jnas.predict._metrics import calibration as calibration
from jnas.predict._metrics import score as score
from jnas.predict._original_lstm import OriginalLSTM as OriginalLSTM
from jnas.predict._predictor import Predictor as Predictor

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
]
