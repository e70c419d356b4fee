"""Which images of one split are also in another? By content, whatever their names are."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping

from mmdet_ext.utils.provenance import hash_file

from .evidence import Check
from .rule_tools import percent


def shared_files(first: Iterable[str], second: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of files with the same content. Only files of equal size are read, so large sets take seconds.

    Args:
        first: Paths; files that are missing or cannot be read are passed over.
        second: Likewise.
    """
    sizes: dict[int, list[str]] = defaultdict(list)
    for path in dict.fromkeys(first):
        if (size := _size(path)) is not None:
            sizes[size].append(path)
    contents: dict[int, dict[str, str]] = {}
    pairs = []
    for path in dict.fromkeys(second):
        size = _size(path)
        if size is None or size not in sizes:
            continue
        if size not in contents:
            # Of namesakes in content the first.
            contents[size] = {own: other for other in reversed(sizes[size]) if (own := _hash(other)) is not None}
        own = _hash(path)
        if own is not None and own in contents[size]:
            pairs.append((contents[size][own], path))
    return pairs


def shared_pixels(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of files with the same pixels, whatever their format.

    Args:
        first: File -> hash of its decoded pixels.
        second: Likewise.
    """
    known = {digest: path for path, digest in reversed(list(first.items()))}
    return [(known[digest], path) for path, digest in second.items() if digest in known]


def check_leakage(files: Mapping[str, Iterable[str]], digests: Mapping[str, Mapping[str, str]] | None = None) -> Check:
    """Check that no image of training is in another split: by the content of all files, and by some images' pixels.

    Args:
        files: Image files of each split.
        digests: Split -> file -> hash of its decoded pixels, of those that were decoded anyway.
    """
    if 'train' not in files or len(files) < 2:
        return Check('leakage', None, 'Training and another split are needed for this.')
    told, figures, failed = [], {}, False
    for name, paths in files.items():
        if name == 'train':
            continue
        every = list(paths)
        pairs = shared_files(files['train'], every)
        known = {path for _, path in pairs}
        pixels = shared_pixels(*((digests or {}).get(split, {}) for split in ('train', name)))
        pairs += [pair for pair in pixels if pair[1] not in known]
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
    sentence = '; '.join(told)
    return Check('leakage', not failed, f'{sentence[:1].upper()}{sentence[1:]}.', figures, fix)


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _hash(path: str) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None
