"""The category graph: a matrix of class relations that knows its classes and where it comes from."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .coco_counts import count_coco
from .graph_checks import find_errors, find_oddities
from .graph_file import read_graph, write_graph
from .names import require_known, require_unique
from .normalize import DIRECTED_NORMS, graph_matrix
from .randomize import shuffle_edges

_DEFAULTS: dict[str, Any] = dict(
    merge={}, drop_if={}, background='identity', min_count=0, smooth=0, exclude_crowd=True, include_empty=True
)


@dataclass(eq=False)
class CategoryGraph:
    """Relations of C classes and the background, which always comes last.

    Attributes:
        classes: C names in the order of the matrix.
        matrix: (C + 1, C + 1) float32; row i weighs what class i takes from every class.
        counts: (C, C) int64 co-occurrence counts the matrix was made of, the classes' own counts on the diagonal.
        kind: What the weights are: 'cooccurrence', 'identity', 'imported', 'random', or a word of whoever made the
            graph.
        level: What was counted: 'image' (presence) or 'instance' (boxes).
        norm: 'sqrt', 'row', 'sym', 'cond' or 'none'.
        self_loop: Weight of a class for itself before 'row' or 'sym'.
        restrict: Names between which alone there are edges, or None for all.
        directed: Whether the matrix may be asymmetric.
        n_images: Number of images counted.
        sources: One `{'file': ..., 'sha256': ...}` for each annotation file.
        options: What else was chosen when the graph was made, where it is not the default; empty in older files.
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
    options: dict[str, Any] = field(default_factory=dict)

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
        drop_if: Mapping[str, Sequence[str]] | None = None,
        min_count: int = 0,
        smooth: float = 0.0,
        exclude_crowd: bool = True,
        include_empty: bool = True,
        restrict_missing: str = 'error',
    ) -> 'CategoryGraph':
        """Count which classes occur together in COCO annotation files; see `count_coco` and `graph_matrix`.

        Args:
            ann_files: One COCO json file or several; give training files only, or the graph knows the answers.
            level: 'image' counts images that show both classes, 'instance' counts boxes.
            norm: 'sqrt', 'row', 'sym', 'cond' or 'none'; 'row' and 'cond' give a directed graph.
            restrict: Keep edges only among these classes (names after `merge`).
            merge: `{'new': ['old1', 'old2']}` counts the old classes as one.
            background: 'identity', 'zero' or 'uniform' row and column of the background.
            classes: Names in the order wanted, normally the data set's `metainfo['classes']`. Default: the order of
                `categories` in the first file.
            self_loop: Weight of a class for itself.
            drop_if: `{'nodule': ['multiple nodules']}`: the first does not count in images that show one of the others.
            min_count: Edges that were seen less often vanish.
            smooth: Additive smoothing of the counts, for the matrix only; `counts` stay what was counted.
            exclude_crowd: Leave `iscrowd` annotations out.
            include_empty: Whether `n_images` includes images that show nothing.
            restrict_missing: 'error', or 'drop': names in `restrict` that the files lack are left out with a warning,
                so one list serves several data sets.

        Raises:
            FileNotFoundError: An annotation file is missing.
            KeyError: An unknown class name, with the nearest known one.
            ValueError: A file is not COCO, files disagree on their categories, or an option is unknown.
        """
        chosen = dict(
            merge={new: list(olds) for new, olds in (merge or {}).items()},
            drop_if={name: list(others) for name, others in (drop_if or {}).items()},
            background=background,
            min_count=min_count,
            smooth=smooth,
            exclude_crowd=exclude_crowd,
            include_empty=include_empty,
        )
        counted = count_coco(ann_files, level, classes, merge, drop_if, exclude_crowd, include_empty)
        keep = None
        if restrict is not None:
            restrict = _known_restrict(restrict, counted.classes, restrict_missing)
            keep = np.isin(counted.classes, list(restrict))
        return cls(
            classes=counted.classes,
            matrix=graph_matrix(counted.counts, norm, keep, self_loop, background, min_count, smooth),
            counts=counted.counts,
            level=level,
            norm=norm,
            self_loop=self_loop,
            restrict=None if restrict is None else tuple(restrict),
            directed=norm in DIRECTED_NORMS,
            n_images=counted.n_images,
            sources=counted.sources,
            options={key: value for key, value in chosen.items() if value != _DEFAULTS[key]},
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
        errors = find_errors(self, classes)
        if errors:
            raise ValueError(errors[0])
        for sentence in find_oddities(self):
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
            options=dict(self.options),
        )

    def randomized(self, seed: int) -> 'CategoryGraph':
        """The control of this graph: the same edge weights between randomly chosen classes, see `shuffle_edges`.

        Diagonal, background and `restrict` stay; row sums stay where the graph is directed, symmetry where it is not.
        Counts off the diagonal are 0: the new edges were not counted.
        """
        among = np.isin(self.classes, self.classes if self.restrict is None else self.restrict)
        return replace(
            self,
            matrix=shuffle_edges(self.matrix, among, self.directed, seed),
            counts=np.diag(np.diagonal(self.counts)),
            kind='random',
            sources=[dict(source) for source in self.sources],
            options={**self.options, 'seed': seed, 'like': self.kind},
        )


def _known_restrict(restrict: Sequence[str], classes: Sequence[str], missing: str) -> list[str]:
    """`restrict` without the names that are no class; see `CategoryGraph.from_coco`."""
    if missing not in ('error', 'drop'):
        raise ValueError(f"`restrict_missing` must be 'error' or 'drop', got {missing!r}")
    unknown = [name for name in restrict if name not in classes]
    if missing == 'error' or len(unknown) == len(restrict):
        require_known(restrict, classes, '`restrict`')
    if unknown:
        warnings.warn(f'`restrict` without {", ".join(unknown)}, which the data do not have', UserWarning, stacklevel=3)
    return [name for name in restrict if name in classes]
