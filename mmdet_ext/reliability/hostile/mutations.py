"""Makes bad files of good ones: by bytes, by JSON values, by what stands at their place."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

NASTY: tuple[Any, ...] = (
    *(None, True, False, '', ' ', 'x', 'Ünïcödé ☃', '\ud800', '\0', '../../x', 'a' * 1000),
    *(0, -1, 1, 0.5, -0.0, 2**31, 2**63, 10**30, 10**400, 1e300, 1e308, -1e308),
    *(float('nan'), float('inf'), float('-inf')),
    *([], {}, [[]], {'': 0}, [1, 2, 3], [1, 2, 3, 4, 5], ['x'] * 4, [None] * 4, [0, 0, 0, 0], [-5, -5, 1, 1]),
)
"""Values that a reader may meet in the place of any other."""


def mutate_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert, overwrite or recode; one to three times."""
    for _ in range(rng.randint(1, 3)):
        raw = rng.choice(_BYTES)(raw, rng)
    return raw


def _span(raw: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(raw))
    return start, min(len(raw), start + rng.choice((1, 2, 8, 64, 1000)))


def _flip(raw: bytes, rng: random.Random) -> bytes:
    if not raw:
        return raw
    place = rng.randrange(len(raw))
    return raw[:place] + bytes([raw[place] ^ 1 << rng.randrange(8)]) + raw[place + 1 :]


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _drop(raw: bytes, rng: random.Random) -> bytes:
    start, end = _span(raw, rng)
    return raw[:start] + raw[end:]


def _repeat(raw: bytes, rng: random.Random) -> bytes:
    start, end = _span(raw, rng)
    return raw[:end] + raw[start:]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    start, _ = _span(raw, rng)
    text = rng.choice((b'\0', b'\xff\xfe', b'NaN', b'1e999', b'-', b'"', b'{', b']', b'9' * 5000, '٣☃'.encode(), b'\n'))
    return raw[:start] + text + raw[start:]


def _zero(raw: bytes, rng: random.Random) -> bytes:
    start, end = _span(raw, rng)
    return raw[:start] + bytes(end - start) + raw[end:]


def _recode(raw: bytes, rng: random.Random) -> bytes:
    text = raw.decode('utf-8', errors='replace')
    return text.encode(rng.choice(('utf-16', 'utf-8-sig', 'latin-1', 'utf-32')), errors='replace')


def _other(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (b'', b'\n\n', b'null', b'0', b'PK\x03\x04', b'\x80\x04.', b'<a/>', b'[' * 100_000, b'{"a":' * 50_000)
    )


_BYTES: tuple[Mutation, ...] = (_flip, _cut, _drop, _repeat, _insert, _zero, _recode, _other)


def mutate_json(raw: bytes, rng: random.Random) -> bytes:
    """Change values, keys and entries of a JSON file, or make one up; now and then its bytes."""
    kind = rng.random()
    if kind < 0.2:
        return mutate_bytes(raw, rng)
    if kind < 0.3:
        return json.dumps(random_json(rng)).encode()
    tree = json.loads(raw)
    for _ in range(rng.randint(1, 3)):
        tree = _mutate_tree(tree, rng)
    text = json.dumps(tree)
    if rng.random() < 0.1:
        # The same keys once more: the last one counts.
        text = text.replace('{', '{"id": "twice", "images": 0, ', 1)
    return text.encode()


def random_json(rng: random.Random, depth: int = 3) -> Any:
    """Any JSON value, with keys that annotation files have."""
    kind = rng.random()
    if depth == 0 or kind < 0.4:
        return copy.deepcopy(rng.choice(NASTY))
    if kind < 0.7:
        return [random_json(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    keys = ('images', 'annotations', 'categories', 'id', 'name', 'bbox', 'area', 'matrix', 'classes', 'format', 'x')
    return {rng.choice(keys): random_json(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def _mutate_tree(tree: Any, rng: random.Random) -> Any:
    """One change at a random node."""
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(rng.choice(NASTY))
    owner, key = rng.choice(places)
    action = rng.randrange(6)
    if action == 0:
        del owner[key]
    elif action == 1 and isinstance(owner, list):
        owner.insert(rng.randint(0, len(owner)), copy.deepcopy(owner[key]))
    elif action == 2 and isinstance(owner, dict):
        owner[rng.choice(('', 'X', f'{key} ', str(key).upper()))] = owner.pop(key)
    elif action == 3 and isinstance(owner[key], int | float):
        owner[key] = rng.choice((-1, 1e6, 1e308, 0.1)) * float(max(-1e300, min(owner[key], 1e300)))
    elif action == 4:
        owner[key] = [owner[key]]
    else:
        owner[key] = copy.deepcopy(rng.choice(NASTY))
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every value inside, as the container that has it and its key or index."""
    found: list[tuple[Any, Any]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            found.append((node, key))
            stack.append(value)
    return found


_WORDS = (
    *('nan', 'inf', '-1', '1e999', '-5', '1e308', '999999999', '9' * 5000, '0', '0x10', '1_0', '٣'),
    *('x', '', '#', '-'),
)


def mutate_text(raw: bytes, rng: random.Random) -> bytes:
    """Change lines and words of a text file of numbers, or its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(raw, rng)
    lines = raw.decode().split('\n')
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        words = lines[place].split(' ')
        word = rng.randrange(len(words))
        action = rng.randrange(5)
        if action == 0:
            del words[word]
        elif action == 1:
            lines.insert(place, lines[place])
            continue
        elif action == 2:
            words.append(words[word])
        else:
            words[word] = rng.choice(
                (
                    'nan',
                    'inf',
                    '-1',
                    '1e999',
                    '-5',
                    '1e308',
                    'x',
                    '',
                    '0',
                    '9' * 5000,
                    '٣',
                    '#',
                    '999999999',
                    '0x10',
                    '1_0',
                )
            )
        lines[place] = ' '.join(words)
    return '\n'.join(lines).encode('utf-8', errors='replace')


_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "'
    + b'&a;' * 50
    + b'"><!ENTITY c "'
    + b'&b;' * 50
    + b'"><!ENTITY d "'
    + b'&c;' * 50
    + b'"><!ENTITY e "'
    + b'&d;' * 50
    + b'">]><annotation><object><name>&e;</name></object></annotation>'
)
_FOREIGN = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation><x>&a;</x></annotation>'
)


def mutate_xml(raw: bytes, rng: random.Random) -> bytes:
    """Change tags and numbers of an XML file, or its bytes; or one that expands without end or names another file."""
    kind = rng.random()
    if kind < 0.3:
        return mutate_bytes(raw, rng)
    if kind < 0.35:
        return rng.choice((_BOMB, _FOREIGN, b'<a>' * 20_000 + b'</a>' * 20_000))
    pieces = raw.decode().replace('<', '\0<').replace('>', '>\0').split('\0')
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(pieces))
        words = ('', 'nan', 'inf', '-7', '1e400', 'x', '<object>', '</size>', '<name/>', '☃', '99999999999999', '0')
        pieces[place] = rng.choice((*words, pieces[place] * 2))
    return ''.join(pieces).encode()


def misplace(path: Path, rng: random.Random) -> None:
    """Put something else where a file should be: nothing, a folder, a link to itself or to nothing."""
    kind = rng.randrange(4)
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(path.name)
    elif kind == 3:
        path.symlink_to('nowhere')
