"""Which images of one split are also in another? By content, whatever their names are."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from .evidence import Check
from .rule_tools import percent


def shared_files(first: Iterable[str], second: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of files with the same content. Only files of equal size are read, so large sets take seconds.

    Args:
        first: Paths; missing files are passed over.
        second: Likewise.
    """
    sizes: dict[int, list[str]] = defaultdict(list)
    for path in dict.fromkeys(first):
        if (size := _size(path)) is not None:
            sizes[size].append(path)
    hashes: dict[str, bytes] = {}
    pairs = []
    for path in dict.fromkeys(second):
        size = _size(path)
        for other in sizes.get(-1 if size is None else size, ()):
            if os.path.realpath(other) == os.path.realpath(path) or _hash(other, hashes) == _hash(path, hashes):
                pairs.append((other, path))
                break
    return pairs


def check_leakage(files: Mapping[str, Iterable[str]]) -> Check:
    """Check that no image of training is in another split.

    Args:
        files: Image files of each split.
    """
    if 'train' not in files or len(files) < 2:
        return Check('leakage', None, 'Training and another split are needed for this.')
    told, figures, failed = [], {}, False
    for name, paths in files.items():
        if name == 'train':
            continue
        every = list(paths)
        pairs = shared_files(files['train'], every)
        figures[name] = len(pairs) / max(len(every), 1)
        if pairs:
            failed = True
            told.append(
                f'{len(pairs)} of {len(every)} images of {name} ({percent(figures[name])}) are also in train, such as '
                f'{os.path.basename(pairs[0][1])} = {os.path.basename(pairs[0][0])}'
            )
        else:
            told.append(f'no image of {name} is in train')
    fix = 'Take these images out of the annotation file of one of the splits.'
    return Check('leakage', not failed, f'{"; ".join(told)}.'.capitalize(), figures, fix)


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _hash(path: str, known: dict[str, bytes]) -> bytes:
    if path not in known:
        with open(path, 'rb') as file:
            known[path] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    return known[path]
