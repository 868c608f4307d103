"""Models that the predictor is compared with, behind the interface of `jnas.predict.Regressor`."""

from jnas.predict import LSTMEnsemble, OriginalLSTM, Predictor, Regressor
from predictors.baselines import GradientBoosting as GradientBoosting
from predictors.baselines import Ridge as Ridge
from predictors.summary import summarize as summarize
from predictors.validation import cross_validate as cross_validate
from predictors.validation import learning_curve as learning_curve
from predictors.validation import noise_ceiling as noise_ceiling

__all__ = ["MODELS", "GradientBoosting", "Ridge", "cross_validate", "learning_curve", "noise_ceiling", "summarize"]

MODELS: dict[str, type[Regressor]] = {
    cls.name: cls for cls in (Predictor, LSTMEnsemble, OriginalLSTM, Ridge, GradientBoosting)
}
"""Every model by its name in tables."""
