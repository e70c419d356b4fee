"""Class names: sentences about unknown and differently ordered ones."""

import difflib
from collections.abc import Iterable, Sequence
from itertools import zip_longest


def require_known(names: Iterable[str], known: Sequence[str], what: str) -> None:
    """Check that every name is known.

    Args:
        names: Names somebody asked for.
        known: Names that exist.
        what: Where the names come from, as the start of the sentence, such as '`restrict`'.

    Raises:
        KeyError: With every unknown name, each with the nearest known one.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ', '.join(f'{name!r} (nearest: {_nearest(name, known)})' for name in unknown)
        raise KeyError(f'{what} names classes that do not exist: {listed}')


def require_unique(names: Sequence[str], what: str) -> None:
    """Raise a ValueError that lists the names that occur twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{what} has class names that occur more than once: {", ".join(twice)}')


def group_pairs(pairs: Iterable[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """`[('a', ['b']), ('a', ['c'])]` -> `{'a': ['b', 'c']}`: a name that is given twice loses nothing."""
    grouped: dict[str, list[str]] = {}
    for name, others in pairs:
        grouped.setdefault(name, []).extend(others)
    return grouped


def describe_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """Say in one clause where two different lists of class names part, and how to fix it."""
    pairs = zip_longest(map(repr, ours), map(repr, theirs), fillvalue='nothing')
    index, (our, their) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    where = f'index {index}: the graph has {our}, the data set {their}'
    if sorted(ours) == sorted(theirs):
        return f'only the order differs, first at {where}; use `remap(classes)`'
    return (
        f'the graph has {len(ours)} classes, the data set {len(theirs)}, and the first difference is at {where}; build '
        'the graph from this data set, or use `remap(classes)` where the graph has all of its classes'
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return repr(matches[0]) if matches else 'there are no classes'
