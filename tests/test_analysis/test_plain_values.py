"""Plain values for JSON."""

from dataclasses import dataclass

import numpy as np

from mmdet_ext.analysis.plain_values import plain


@dataclass
class Point:
    x: float
    y: float


def test_plain_values():
    mixed = {1: np.array([1.0, np.nan]), 'a': (Point(1.0, np.inf), np.float32(2)), 'b': None, 'c': 'text', 'd': True}
    assert plain(mixed) == {'1': [1.0, None], 'a': [{'x': 1.0, 'y': None}, 2.0], 'b': None, 'c': 'text', 'd': True}
