"""Which images are kept for validation: of each class the same share, as nearly as whole images allow."""

import numpy as np
from jaxtyping import Int


def stratify(
    labels: Int[np.ndarray, " n"], order: Int[np.ndarray, " n"], count: int
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " m"]]:
    """Returns the places of training and of validation images, both ascending.

    `count` images are for validation, the first ones of their classes in `order`. A class of two images or more has one
    or more on each side, for which there may be more validation images than `count`; a class of one has it in training.
    """
    _, classes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    quotas = sizes * (count / len(labels))
    shares = np.clip(quotas.astype(np.int64), sizes > 1, np.maximum(sizes - 1, 0))
    # Those with the largest remainders have one more, of equals the first.
    for index in np.argsort(shares - quotas, kind="stable"):
        if shares.sum() < count and shares[index] < sizes[index] - 1:
            shares[index] += 1
    if not shares.any():  # no class has two images
        return np.sort(order[count:]), np.sort(order[:count])
    in_order = classes[order]
    by_class = np.argsort(in_order, kind="stable")
    firsts = np.cumsum(sizes) - sizes
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - firsts[in_order[by_class]]
    is_validation = ranks < shares[in_order]
    return np.sort(order[~is_validation]), np.sort(order[is_validation])
