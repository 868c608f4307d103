"""Regressors of accuracy: sequences of layer vectors in, a number and its uncertainty out."""

from jnas.predict.ensemble import Settings as Settings
from jnas.predict.ensemble import apply as apply
from jnas.predict.metrics import Scores as Scores
from jnas.predict.metrics import score as score
from jnas.predict.predictor import Predictor as Predictor
from jnas.predict.regressor import Regressor as Regressor
