"""How the time of a search is spent: what is decided before it begins.

A plan follows from the minutes, the number of images, and the processor's kind and cores; from ten minutes on also from
its measured speed, in coarse steps, so that the same command trains the same templates on machines that are alike.
What is measured decides later, too: how many rounds there are, and the winner's epochs (see `speed`).
"""

import math
from typing import NamedTuple

FINAL_SHARE, MOST_FINAL_SHARE = 0.5, 0.65
"""Of the time that is for training the winner: at least, and in a search of three minutes. Evolution finds little in so
short a time, and the winner's training gains by every epoch."""
PROMOTED_SHARE = 0.25
"""Of the time that is for training the best candidates again before one of them is the winner, where any are."""
_NUM_PROMOTED, _LEAST_FACTOR = 4, 3.0
"""So many are promoted where the time is enough to train each on so many times the images of a candidate."""
_LEAST_LEFT = 0.5
"""Share of a candidate's images that must be left where some are promoted; else none are."""
_FEWER_CANDIDATES = 0.7
"""Share of the candidates that is left where some are promoted, so that each is still trained nearly as long."""
LEAST_SECONDS_TO_MEASURE = 600.0
"""Time of a search from which on the speed is measured: it takes some ten seconds."""

_FLOPS_PER_CORE = 40e9
"""Of training small networks on one core of a server, floating-point operations a second; half of what large ones
reach."""
_FLOPS_PER_GPU = 5e12
"""Of training one small network after the other on a data-centre GPU: a few per cent of its peak."""
_SHARED_CORE = 0.8
"""What a core contributes to one training that has all of them, relative to a training of its own."""
_STEPS_OF_TWICE = 2
"""Steps in which a measured speed counts, of a factor of two: what is less is noise."""
FLOPS_PER_MAC = 6
"""Of training: twice one multiply-accumulate, in the forward pass and for both gradients."""
_START_SECONDS, _COMPILE_SECONDS = 12.0, 4.0
_MEAN_SIZE = 0.5
"""Multiply-accumulates of a candidate, relative to the most that are allowed."""
_NUM_CANDIDATES, _CANDIDATES_EXPONENT = 16, 0.5
"""Trained in three minutes on two cores, and how that grows with the time: half of it goes into longer trainings."""
_BASE_SECONDS, _BASE_CORES = 180.0, 2
_EPOCHS = 4
"""Of a candidate's training, unless there are so few images that it can have more."""
_MIN_IMAGES, _MIN_MACS = 2000, 100_000
_FINAL_EPOCHS, _FINAL_IMAGES, _FINAL_MACS = 24, 3200, 6_250_000
"""A good use of three minutes on two cores: so many epochs of so many images for a network of this size."""
_EPOCHS_BY_IMAGES, _EPOCHS_BY_TIME = 0.42, 0.35
"""Exponents: with more images fewer epochs do, and of more time a third goes into longer training, the rest into larger
networks."""
_NEARLY_ALL = 0.8
_MIN_FINAL_EPOCHS, _MAX_FINAL_EPOCHS = 3, 200


class Plan(NamedTuple):
    """What each candidate may cost, and how it is trained."""

    max_macs: int
    epochs: int
    train_images: int
    """Training images of a candidate; the winner is trained on all."""
    final_epochs: int
    """Epochs that the largest candidate can be trained for in the time that is kept for it."""
    num_promoted: int
    """Candidates that are trained again for longer before one of them is the winner."""


def make_plan(
    seconds: float,
    num_images: int,
    num_cores: int,
    on_gpu: bool,
    speed: float | None = None,
    num_promoted: int | None = None,
) -> Plan:
    """Returns the plan of a search that may take so many seconds on so many training images.

    `speed` is in operations a second of one training that has the whole processor; None is a guess. `num_promoted` is
    the plan's own where it is None.

    The largest candidate is one that can be trained nearly to its best in the time that is kept for the winner. The
    others' time is for some dozens of candidates; those are trained for a few epochs on as many images as that allows.
    Where a second training of the best can be several times as long, half of that time is for these.
    """
    together = _FLOPS_PER_GPU if on_gpu else _FLOPS_PER_CORE * (1 + _SHARED_CORE * (num_cores - 1))
    side_by_side = _FLOPS_PER_GPU if on_gpu else _FLOPS_PER_CORE * num_cores
    faster = 1.0 if speed is None else 2 ** (round(_STEPS_OF_TWICE * math.log2(speed / together)) / _STEPS_OF_TWICE)
    together, side_by_side = faster * together, faster * side_by_side
    work = FINAL_SHARE * seconds * together / (FLOPS_PER_MAC * num_images)  # in multiply-accumulates times epochs
    growth = work / (_FINAL_EPOCHS * _FINAL_MACS)
    epochs_by_images = _FINAL_EPOCHS * (_FINAL_IMAGES / num_images) ** _EPOCHS_BY_IMAGES
    final_epochs = round(epochs_by_images * growth**_EPOCHS_BY_TIME)
    final_epochs = min(max(final_epochs, _MIN_FINAL_EPOCHS), _MAX_FINAL_EPOCHS)
    max_macs = max(int(work / final_epochs), _MIN_MACS)
    lanes = 1 if on_gpu else num_cores
    num_candidates = _NUM_CANDIDATES * (seconds / _BASE_SECONDS) ** _CANDIDATES_EXPONENT * lanes / _BASE_CORES

    def presentations(is_promoting: bool) -> float:
        """Images, those of all epochs together, of each candidate."""
        count = max(num_candidates * (_FEWER_CANDIDATES if is_promoting else 1.0), 1.0)
        left = max((1 - reserved_share(_NUM_PROMOTED * is_promoting)) * seconds - _START_SECONDS, 1.0)
        flops = side_by_side * max(left - count * _COMPILE_SECONDS / lanes, left / 4) / count
        return flops / (FLOPS_PER_MAC * _MEAN_SIZE * max_macs)

    if num_promoted is None:
        longer = side_by_side * PROMOTED_SHARE * seconds / (_NUM_PROMOTED * FLOPS_PER_MAC * max_macs)
        is_worth_it = (
            longer >= _LEAST_FACTOR * presentations(True) >= _LEAST_FACTOR * _LEAST_LEFT * presentations(False)
        )
        num_promoted = _NUM_PROMOTED if is_worth_it else 0
    images = presentations(num_promoted > 1)
    train_images = max(int(images / _EPOCHS), _MIN_IMAGES)
    train_images = num_images if train_images > _NEARLY_ALL * num_images else train_images
    epochs = min(max(round(images / train_images), 1), max(math.ceil(final_epochs / 2), 1))
    return Plan(max_macs, epochs, train_images, final_epochs, num_promoted)


def reserved_share(num_promoted: int, seconds: float = math.inf) -> float:
    """Returns the share of a search's seconds that is kept for what comes after the candidates."""
    if num_promoted > 1:  # which is a longer training, too
        return FINAL_SHARE + PROMOTED_SHARE
    shortness = (LEAST_SECONDS_TO_MEASURE - seconds) / (LEAST_SECONDS_TO_MEASURE - _BASE_SECONDS)
    return FINAL_SHARE + (MOST_FINAL_SHARE - FINAL_SHARE) * min(max(shortness, 0.0), 1.0)
