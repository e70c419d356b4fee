"""A pair's place in the order of greedy matching as one integer."""

import numpy as np
import torch
from torch import Tensor

LOW = 0xFFFFFFFF


def pack(rank: Tensor, prior: Tensor) -> Tensor:
    """IoU (float32, >= 0) and number of the prior in an int64 that sorts by IoU, then by lower number.

    A negative rank, of a pair that must not be matched, gives a negative key.
    """
    return (rank.view(torch.int32).to(torch.int64) << 32) | (LOW - prior)


def unpack_prior(key: Tensor) -> Tensor:
    """Number of the prior; 0 for a key of -1."""
    return LOW - (key & LOW)


def unpack_prior_on_host(key: np.ndarray) -> np.ndarray:
    """Number of the prior; -1 for negative keys."""
    return np.where(key >= 0, LOW - (key & LOW), -1)
