"""The operations that layers are made of, with gradients of their own: arrays are `[N, H, W, C]` or `[N, F]`."""

from jnas.nn.ops._barriers import backward_barrier, forward_barrier, optimization_barrier
from jnas.nn.ops._batch_norm import BATCH_NORM_EPSILON, batch_norm
from jnas.nn.ops._linear import linear
from jnas.nn.ops._pooling import avg_pool, max_pool
from jnas.nn.ops._windows import Pair
from jnas.nn.ops.conv import conv2d

__all__ = [
    "BATCH_NORM_EPSILON",
    "Pair",
    "avg_pool",
    "backward_barrier",
    "batch_norm",
    "conv2d",
    "forward_barrier",
    "linear",
    "max_pool",
    "optimization_barrier",
]
