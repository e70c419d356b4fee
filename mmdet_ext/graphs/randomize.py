"""The control of a category graph: the same edge weights between other classes."""

import numpy as np


def shuffle_edges(matrix: np.ndarray, among: np.ndarray, directed: bool, seed: int) -> np.ndarray:
    """Move the entries off the diagonal to random places; zeros move as well.

    Args:
        matrix: (C + 1, C + 1), background last; its row, its column and the diagonal stay.
        among: (C,) bool; only entries between these classes move.
        directed: Each row is shuffled by itself, so that row sums stay (to float precision). Otherwise the matrix is
            symmetric and stays so.
        seed: Of the order; the same seed gives the same matrix.

    Returns:
        (C + 1, C + 1) copy.
    """
    rng = np.random.default_rng(seed)
    shuffled = matrix.copy()
    indices = np.flatnonzero(among)
    if directed:
        for row in indices:
            columns = indices[indices != row]
            shuffled[row, columns] = rng.permutation(matrix[row, columns])
    else:
        upper, lower = (indices[part] for part in np.triu_indices(len(indices), k=1))
        shuffled[upper, lower] = shuffled[lower, upper] = rng.permutation(matrix[upper, lower])
    return shuffled
