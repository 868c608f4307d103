"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict.baselines import GradientBoosting as GradientBoosting
from jnas.predict.baselines import Ridge as Ridge
from jnas.predict.ensemble import Settings as Settings
from jnas.predict.ensemble import apply as apply
from jnas.predict.metrics import Calibration as Calibration
from jnas.predict.metrics import Scores as Scores
from jnas.predict.metrics import calibration as calibration
from jnas.predict.metrics import noise_ceiling as noise_ceiling
from jnas.predict.metrics import score as score
from jnas.predict.original import OriginalLSTM as OriginalLSTM
from jnas.predict.predictor import Predictor as Predictor
from jnas.predict.regressor import Regressor as Regressor
from jnas.predict.validation import cross_validate as cross_validate
from jnas.predict.validation import learning_curve as learning_curve

MODELS: dict[str, type[Regressor]] = {cls.name: cls for cls in (Predictor, OriginalLSTM, Ridge, GradientBoosting)}
"""Every model by its name in tables."""
