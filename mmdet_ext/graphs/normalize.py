"""Turns co-occurrence counts into the matrix of a category graph."""

import math

import numpy as np

NORMS = ('sqrt', 'row', 'sym', 'cond', 'none')
BACKGROUNDS = ('identity', 'zero', 'uniform')
DIRECTED_NORMS = ('row', 'cond')


def graph_matrix(
    counts: np.ndarray,
    norm: str = 'sqrt',
    keep: np.ndarray | None = None,
    self_loop: float = 1.0,
    background: str = 'identity',
    min_count: int = 0,
    smooth: float = 0.0,
) -> np.ndarray:
    """Normalise counts; a class that never occurs gets zeros beside its self loop (unless smoothed), never NaN.

    The norms are, n_ij being the counts and n_i their diagonal:

    - 'sqrt': n_ij / sqrt(n_i n_j), symmetric, in [0, 1]; the diagonal is `self_loop`.
    - 'cond': n_ij / n_i, the probability of j where i is, directed, in [0, 1]; the diagonal is `self_loop`.
    - 'none': the counts; the diagonal is `self_loop * n_i`, the self loop in the unit of the counts.
    - 'row': D^-1 A, directed, rows sum to 1; A is the complete 'sqrt' matrix, D the diagonal matrix of its row sums.
    - 'sym': D^-1/2 A D^-1/2, symmetric.

    Smoothing by X is additive: n_ij + X and n_i + X C take the place of n_ij and n_i, as if X more images showed each
    pair of classes and X more each class alone. Entries of 'sqrt' and 'cond' stay in [0, 1]; those of a class that
    never occurs go to 1 / C under 'cond' and those of a frequent one hardly move.

    Args:
        counts: (C, C), symmetric, the classes' own counts on the diagonal.
        norm: One of the five above.
        keep: (C,) bool; entries off the diagonal are kept only between these classes. Default: all.
        self_loop: Weight of a class for itself, at least 0.
        background: 'identity' (1 for itself, 0 for classes), 'zero', or 'uniform' (1 / (C + 1) for everything, both in
            its row and in its column). 'row' and 'sym' normalise it like a class.
        min_count: Entries off the diagonal whose n_ij, before smoothing, is below this are 0.
        smooth: X of the additive smoothing, at least 0.

    Returns:
        (C + 1, C + 1) float32, background last.

    Raises:
        ValueError: An option is unknown, or a number is negative or not finite.
    """
    if norm not in NORMS:
        raise ValueError(f'norm must be one of {NORMS}, got {norm!r}')
    if background not in BACKGROUNDS:
        raise ValueError(f'background must be one of {BACKGROUNDS}, got {background!r}')
    for name, value in (('self_loop', self_loop), ('min_count', min_count), ('smooth', smooth)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f'{name} must be a finite number of at least 0, got {value!r}')

    n_classes = len(counts)
    own = np.diagonal(counts) + smooth * n_classes
    # Every n_ij is 0 where n_i or n_j is, so a denominator of 1 keeps those entries at 0.
    safe = np.where(own > 0, own, 1)
    scale = {'cond': safe[:, None], 'none': np.ones(())}.get(norm, np.sqrt(safe[:, None] * safe))
    inner = np.where(counts >= min_count, (counts + smooth) / scale, 0.0)
    if keep is not None:
        inner = np.where(np.logical_and.outer(keep, keep), inner, 0.0)
    np.fill_diagonal(inner, self_loop * own if norm == 'none' else self_loop)

    uniform = background == 'uniform'
    matrix = np.full((n_classes + 1, n_classes + 1), 1 / (n_classes + 1) if uniform else 0.0)
    matrix[:n_classes, :n_classes] = inner
    if background == 'identity':
        matrix[n_classes, n_classes] = 1
    sums = matrix.sum(axis=1)
    degree = np.where(sums > 0, sums, 1)
    if norm == 'row':
        matrix /= degree[:, None]
    elif norm == 'sym':
        matrix /= np.sqrt(np.outer(degree, degree))
    return matrix.astype(np.float32)
