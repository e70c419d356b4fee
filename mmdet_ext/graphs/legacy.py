"""Makes category graphs of bare matrices: the pickles of Reasoning-RCNN and its descendants, `.npy` and `.csv`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .category_graph import CategoryGraph
from .restricted_pickle import load_arrays

BACKGROUNDS = ('first', 'last', 'none')
SUFFIXES = ('.pkl', '.pickle', '.npy', '.csv')


def import_graph(path: str | Path, classes: Sequence[str], background: str | None = None) -> CategoryGraph:
    """Make a category graph of a bare matrix. Weights stay as they are; only the background moves to the end.

    Where the background stands cannot be seen: a matrix with the background first gives a graph in which every class
    has the edges of its neighbour in the list, which trains without any error. So it must be said.

    Args:
        path: `.pkl` or `.pickle` (an array, a list of rows, or a dict that holds one matrix; read without running
            anything), `.npy` or `.csv` (numbers alone).
        classes: C names in the order of the matrix.
        background: 'first' (released Reasoning-RCNN files) or 'last' for a (C + 1, C + 1) matrix; 'none' for a (C, C)
            one, to which a background that only knows itself is added.

    Returns:
        A graph of kind 'imported' without counts, directed where the matrix is asymmetric.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: `background` is not said (the sentence says what the matrix looks like), the shape does not fit the
            classes, values are not finite, or the file is none of the above or not safe to load.
    """
    path = Path(path)
    matrix = read_matrix(path)
    size = len(classes)
    if background not in BACKGROUNDS:
        raise ValueError(
            f'{path}: say where the background stands in the {matrix.shape[0]} x {matrix.shape[1]} matrix, '
            f'{", ".join(map(repr, BACKGROUNDS))}, got {background!r}; {_hint(matrix, size)}'
        )
    expected = size if background == 'none' else size + 1
    if matrix.shape != (expected, expected):
        raise ValueError(
            f'{path} holds a matrix of shape {matrix.shape}; {size} classes with background {background!r} need '
            f'({expected}, {expected})'
        )
    if background == 'first':
        matrix = np.roll(matrix, -1, axis=(0, 1))
    elif background == 'none':
        matrix = np.pad(matrix, (0, 1))
        matrix[-1, -1] = 1
    return CategoryGraph(
        classes=tuple(classes),
        matrix=matrix,
        counts=np.zeros((size, size)),
        kind='imported',
        norm='none',
        directed=not np.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-6),
        sources=[{'file': path.as_posix(), 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}],
        options={'background': background},
    )


def read_matrix(path: Path) -> np.ndarray:
    """Read the one matrix of a file, (M, M) float64; see `import_graph`."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f'a matrix to import is a file of {", ".join(SUFFIXES)}, got {path}')
    if not path.is_file():
        raise FileNotFoundError(f'the matrix file {path} does not exist')
    try:
        if path.suffix == '.csv':
            loaded: Any = np.loadtxt(path, delimiter=',', ndmin=2)
        else:
            loaded = np.load(path, allow_pickle=False) if path.suffix == '.npy' else load_arrays(path)
    except Exception as error:  # numpy's reader of headers raises anything
        raise ValueError(f'{path} cannot be read as a matrix: {error}') from error
    if isinstance(loaded, dict):
        found = {key: matrix for key, value in loaded.items() if (matrix := _to_matrix(value)) is not None}
        if len(found) != 1:
            names = ', '.join(map(repr, found)) or 'none'
            raise ValueError(f'{path} is a dict that must hold exactly one square matrix of numbers, but has {names}')
        return next(iter(found.values()))
    matrix = _to_matrix(loaded)
    if matrix is None:
        shape = f' of shape {loaded.shape}' if isinstance(loaded, np.ndarray) else ''
        raise ValueError(f'{path} holds no square matrix of finite numbers, but {type(loaded).__name__}{shape}')
    return matrix


def _to_matrix(value: Any) -> np.ndarray | None:
    """(M, M) float64, or None where it is not a square matrix of finite numbers."""
    if not isinstance(value, np.ndarray | list | tuple):
        return None
    try:
        matrix = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    square = matrix.ndim == 2 and len(matrix) == matrix.shape[1] > 0
    # The graph holds float32, in which larger numbers would become infinite.
    with np.errstate(over='ignore'):
        return matrix if square and np.isfinite(matrix.astype(np.float32)).all() else None


def _hint(matrix: np.ndarray, n_classes: int) -> str:
    """What the matrix looks like, for somebody who has to say where its background is."""
    if len(matrix) == n_classes:
        return f"with {n_classes} classes it has no background, which is 'none'"
    alone = [not np.delete(matrix[row], row).any() for row in (0, -1)]
    if alone == [True, False]:
        return "its first row has no edges and its last has, so 'first' is likely"
    if alone == [False, True]:
        return "its last row has no edges and its first has, so 'last' is likely"
    return 'its first and last row do not tell'
