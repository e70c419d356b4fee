"""Pickles that want to run something, or more memory than there is."""

import os
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

from .mutations import mutate_bytes

MARK = 'mmdet_ext_harm_was_done'
"""A folder of this name beside the pickle would prove that code of it was run."""


class Call:
    """Unpickling it would call a function.

    Args:
        function: Anything that pickle can name.
        args: For it.
    """

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def harmful(content: Any, rng: random.Random) -> bytes:
    """A pickle that calls something, inside of good content or alone."""
    calls = (Call(os.mkdir, MARK), Call(eval, f'__import__("os").mkdir({MARK!r})'), Call(open, MARK, 'w'))
    call = rng.choice(calls)
    holder = rng.choice((call, [call], {'matrix': call}, [content, call], (call, content)))
    return pickle.dumps(holder, rng.randint(0, 5))


def greedy(rng: random.Random) -> bytes:
    """A few bytes that ask for gigabytes."""
    index = struct.pack('<I', rng.choice((2**31 - 1, 2**30)))
    return rng.choice(
        (
            b'\x80\x02]r' + index + b'.',  # a place far out in the table of known objects
            b'\x80\x04\x8e' + struct.pack('<Q', 2**40) + b'x.',  # a string of a terabyte
            b'\x80\x05\x96' + struct.pack('<Q', 2**33) + b'x.',
            b'(' * 200_000 + b'.',
        )
    )


def mutate_pickle(raw: bytes, rng: random.Random) -> bytes:
    """Bytes of a good pickle changed, or one of the above."""
    kind = rng.random()
    if kind < 0.15:
        return harmful([1, 2], rng)
    if kind < 0.25:
        return greedy(rng)
    if kind < 0.35:
        return pickle.dumps(rng.choice(([], {}, None, 'x', [[1, 2], [3]], [{}], [{'img_id': 1}], float('nan'))))
    return mutate_bytes(raw, rng)
