"""The LSTM regressor: sequences of bit vectors in, accuracy and its uncertainty out."""

from jnas.predict.metrics import Scores as Scores
from jnas.predict.metrics import score as score
from jnas.predict.predictor import Predictor as Predictor
