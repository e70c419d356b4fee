"""The category graph: a matrix of class relations that knows its classes and where it comes from."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import numpy as np

from .coco_counts import count_coco
from .graph_file import read_graph, write_graph
from .names import describe_difference, require_known, require_unique
from .normalize import DIRECTED_NORMS, graph_matrix

MAX_ROW_SUM_RATIO = 10
_HELD_OUT = {'val', 'valid', 'validation', 'minival', 'test', 'testing', 'testdev'}
_TRAINING = {'train', 'training', 'trainval'}


@dataclass(eq=False)
class CategoryGraph:
    """Relations of C classes and the background, which always comes last.

    Attributes:
        classes: C names in the order of the matrix.
        matrix: (C + 1, C + 1) float32; row i weighs what class i takes from every class.
        counts: (C, C) int64 co-occurrence counts the matrix was made of, the classes' own counts on the diagonal.
        kind: What the weights are: 'cooccurrence', 'identity', or a word of whoever made the graph.
        level: What was counted: 'image' (presence) or 'instance' (boxes).
        norm: 'sqrt', 'row', 'sym', 'cond' or 'none'.
        self_loop: Weight of a class for itself before 'row' or 'sym'.
        restrict: Names between which alone there are edges, or None for all.
        directed: Whether the matrix may be asymmetric.
        n_images: Number of images counted.
        sources: One `{'file': ..., 'sha256': ...}` for each annotation file.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray
    counts: np.ndarray
    kind: str = 'cooccurrence'
    level: str = 'image'
    norm: str = 'sqrt'
    self_loop: float = 1.0
    restrict: tuple[str, ...] | None = None
    directed: bool = False
    n_images: int = 0
    sources: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.classes = tuple(self.classes)
        self.matrix = np.asarray(self.matrix, dtype=np.float32)
        self.counts = np.asarray(self.counts, dtype=np.int64)
        self.restrict = None if self.restrict is None else tuple(self.restrict)
        require_unique(self.classes, 'the category graph')

    @classmethod
    def from_coco(
        cls,
        ann_files: str | Path | Sequence[str | Path],
        level: str = 'image',
        norm: str = 'sqrt',
        restrict: Sequence[str] | None = None,
        merge: Mapping[str, Sequence[str]] | None = None,
        background: str = 'identity',
        classes: Sequence[str] | None = None,
        self_loop: float = 1.0,
    ) -> 'CategoryGraph':
        """Count which classes occur together in COCO annotation files; see `count_coco` and `graph_matrix`.

        Args:
            ann_files: One COCO json file or several; give training files only, or the graph knows the answers.
            level: 'image' counts images that show both classes, 'instance' counts boxes.
            norm: 'sqrt', 'row', 'sym', 'cond' or 'none'.
            restrict: Keep edges only among these classes (names after `merge`).
            merge: `{'new': ['old1', 'old2']}` counts the old classes as one.
            background: 'identity', 'zero' or 'uniform' row and column of the background.
            classes: Names in the order wanted, normally the data set's `metainfo['classes']`. Default: the order of
                `categories` in the first file.
            self_loop: Weight of a class for itself.

        Raises:
            FileNotFoundError: An annotation file is missing.
            KeyError: An unknown class name, with the nearest known one.
            ValueError: A file is not COCO, files disagree on their categories, or an option is unknown.
        """
        counted = count_coco(ann_files, level=level, classes=classes, merge=merge)
        keep = None
        if restrict is not None:
            require_known(restrict, counted.classes, '`restrict`')
            keep = np.isin(counted.classes, list(restrict))
        return cls(
            classes=counted.classes,
            matrix=graph_matrix(counted.counts, norm, keep, self_loop, background),
            counts=counted.counts,
            level=level,
            norm=norm,
            self_loop=self_loop,
            restrict=None if restrict is None else tuple(restrict),
            directed=norm in DIRECTED_NORMS,
            n_images=counted.n_images,
            sources=counted.sources,
        )

    @classmethod
    def identity(cls, classes: Sequence[str]) -> 'CategoryGraph':
        """The graph in which every class, and the background, only knows itself."""
        size = len(classes)
        return cls(tuple(classes), np.eye(size + 1), np.zeros((size, size)), kind='identity', norm='none')

    @classmethod
    def load(cls, path: str | Path) -> 'CategoryGraph':
        """Read a `.catgraph.json` or `.npz` file.

        Raises:
            FileNotFoundError: The file is missing; the message names the command that builds it.
            ValueError: The file is not a category graph, or its fields contradict each other.
        """
        return cls(**read_graph(path))

    def save(self, path: str | Path) -> Path:
        """Write a `.catgraph.json` or `.npz` file, complete or not at all, and return its path."""
        return write_graph(path, vars(self))

    def check(self, classes: Sequence[str]) -> None:
        """Check that the graph fits a data set.

        Args:
            classes: The data set's `metainfo['classes']`.

        Raises:
            ValueError: Wrong shape, values not finite, other class names or another order, or an asymmetric matrix in a
                graph that is not directed.

        Warns:
            UserWarning: A validation or test file among the sources, classes without neighbours, or row sums of which
                one is more than 10 times another.
        """
        size = len(self.classes)
        if self.matrix.shape != (size + 1, size + 1):
            raise ValueError(
                f'the category graph has a matrix of shape {self.matrix.shape}; {size} classes and the background need '
                f'({size + 1}, {size + 1})'
            )
        if not np.isfinite(self.matrix).all():
            row, column = np.argwhere(~np.isfinite(self.matrix))[0]
            raise ValueError(f'the category graph has a value that is not finite, first at row {row}, column {column}')
        if self.classes != tuple(classes):
            raise ValueError(
                f'the category graph does not fit the data set: {describe_difference(self.classes, tuple(classes))}'
            )
        if not self.directed and not np.allclose(self.matrix, self.matrix.T, rtol=1e-5, atol=1e-6):
            row, column = np.unravel_index(np.abs(self.matrix - self.matrix.T).argmax(), self.matrix.shape)
            raise ValueError(
                f'the category graph is not directed but asymmetric: {self.matrix[row, column]} at row {row}, column '
                f'{column}, and {self.matrix[column, row]} the other way round; mark it as directed or rebuild it'
            )
        for sentence in self._oddities():
            warnings.warn(sentence, UserWarning, stacklevel=2)

    def remap(self, classes: Sequence[str]) -> 'CategoryGraph':
        """The graph of the given classes, which are all or some of this one's, in the order given.

        Weights are taken over as they are: rows of a subset under 'row' or 'sym' no longer have their sums.

        Raises:
            KeyError: Names that the graph lacks, with the nearest it has.
            ValueError: A name occurs twice.
        """
        require_known(classes, self.classes, '`remap`')
        require_unique(list(classes), '`remap`')
        order = [self.classes.index(name) for name in classes]
        with_background = [*order, len(self.classes)]
        return replace(
            self,
            classes=tuple(classes),
            matrix=self.matrix[np.ix_(with_background, with_background)],
            counts=self.counts[np.ix_(order, order)],
            restrict=None if self.restrict is None else tuple(name for name in self.restrict if name in classes),
            sources=[dict(source) for source in self.sources],
        )

    def _oddities(self) -> list[str]:
        """What is allowed but seldom meant, one sentence each."""
        sentences = []
        held_out = [source['file'] for source in self.sources if _is_held_out(source['file'])]
        if held_out:
            sentences.append(
                f'the category graph was built from validation or test data ({", ".join(held_out)}): results on it are '
                'too good; build the graph from training files only'
            )
        edges = self.matrix[:-1, :-1] != 0
        np.fill_diagonal(edges, False)
        meant = self.classes if self.restrict is None else self.restrict
        lonely = [name for name, has in zip(self.classes, edges.any(0) | edges.any(1), strict=True) if not has]
        isolated = [name for name in lonely if name in meant]
        if isolated and self.kind != 'identity':
            sentences.append(f'the category graph has classes without any neighbour: {", ".join(isolated)}')
        sums = np.abs(self.matrix[:-1]).sum(axis=1)
        positive = sums[sums > 0]
        if positive.size and positive.max() > MAX_ROW_SUM_RATIO * positive.min():
            sentences.append(
                f'the row sums of the category graph reach from {positive.min():.3g} to {positive.max():.3g}: features '
                "of some classes will be that much larger than others'; consider norm='row' or norm='sym'"
            )
        return sentences


def _is_held_out(file: str) -> bool:
    """Whether the file name, or its folder where the name tells no split, says validation or test."""
    path = PurePath(file)
    for part in (path.stem, path.parent.name):
        words = {re.sub(r'\d+$', '', word) for word in re.split(r'[^a-z0-9]+', part.lower())}
        if words & (_HELD_OUT | _TRAINING):
            return bool(words & _HELD_OUT)
    return False
