"""A trainer without XLA: control flow is tested with it in milliseconds."""

import hashlib
import math

from jnas.store import Epoch
from jnas.train import Trainer


class FakeTrainer(Trainer):
    """Trains nothing: a curve follows from the hash, the seed and the learning rate, and NaN from a rate above 1e20.

    `TrainingRun`s, weights and rows are real. Tests replace `compile` or `train_until` to let something go wrong.
    """

    memory = 1000

    def compile(self):
        return 0.0

    def train_until(self, run, epoch, on_epoch=None):
        for index in range(run.epoch, epoch):
            for lane, epochs in enumerate(run.history):
                epochs.append(self.fake_epoch(run, lane, index))
            run.epoch = index + 1
            if on_epoch:
                on_epoch(index + 1)
            if all(math.isnan(epochs[-1].train_loss) for epochs in run.history):
                break
        return run

    def fake_epoch(self, run, lane, index):
        seed, rate = int(run.hyperparams.seed[lane]), float(run.hyperparams.learning_rate[lane])
        if rate > 1e20:
            return Epoch(math.nan, 0.0, 0.0)
        text = f"{run.templates[lane].hash} {seed} {rate:.6g}"
        quality = int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 0xFFFFFF
        progress = 1 - math.exp(-(index + 1) / 3)
        accuracy = 0.1 + 0.8 * quality * progress
        return Epoch(2.3 - accuracy, accuracy, accuracy, 2.3 - accuracy, accuracy, 1 - accuracy)
