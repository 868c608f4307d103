"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict._base import Regressor as Regressor
from jnas.predict._baselines import GradientBoosting as GradientBoosting
from jnas.predict._baselines import Ridge as Ridge
from jnas.predict._ensemble import Settings as Settings
from jnas.predict._ensemble import apply as apply
from jnas.predict._metrics import Calibration as Calibration
from jnas.predict._metrics import Scores as Scores
from jnas.predict._metrics import calibration as calibration
from jnas.predict._metrics import noise_ceiling as noise_ceiling
from jnas.predict._metrics import score as score
from jnas.predict._original_lstm import OriginalLSTM as OriginalLSTM
from jnas.predict._predictor import Predictor as Predictor
from jnas.predict._validation import cross_validate as cross_validate
from jnas.predict._validation import learning_curve as learning_curve

MODELS: dict[str, type[Regressor]] = {cls.name: cls for cls in (Predictor, OriginalLSTM, Ridge, GradientBoosting)}
"""Every model by its name in tables."""
