"""Callbacks that write a search to experiment trackers, each of which is installed by itself.

>>> from jnas.trackers import TensorBoard
>>> jnas.search(minutes=10, callbacks=[TensorBoard("runs/first")])  # doctest: +SKIP
"""

from jnas.trackers._mlflow import MLflow
from jnas.trackers._tensorboard import TensorBoard
from jnas.trackers._tracker import Tracker
from jnas.trackers._wandb import WandB

__all__ = ["MLflow", "TensorBoard", "Tracker", "WandB"]
