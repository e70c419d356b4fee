"""Some hundred bad files for every reader, and what the search counts as a defect."""

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdet_ext.reliability.hostile import search as module
from mmdet_ext.reliability.hostile.pickles import MARK
from mmdet_ext.reliability.hostile.search import DefectError, fresh_folder, search, try_case
from mmdet_ext.reliability.hostile.targets import TARGETS, Target, WrongResultError


@pytest.mark.parametrize('target', TARGETS, ids=lambda target: target.name)
def test_bad_files_are_refused_in_a_sentence_or_read_rightly(tmp_path, target):
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**63))
    def run(number):
        try_case(target, random.Random(number), fresh_folder(tmp_path))

    run()


@pytest.mark.parametrize('target', TARGETS, ids=lambda target: target.name)
def test_good_files_are_read(tmp_path, target):
    path = tmp_path / target.file
    path.write_bytes(module._good(target))
    target.read(path)


def _target(read) -> Target:
    return Target('toy', 'toy.txt', lambda: b'good', lambda raw, rng: raw + b'!', read)


def _raise(error):
    def read(path: Path) -> None:
        raise error(f'{path} is not what it should be') if isinstance(error, type) else error

    return read


@pytest.mark.parametrize('error', [ValueError, KeyError, FileNotFoundError])
def test_a_sentence_is_no_defect(tmp_path, error):
    assert try_case(_target(_raise(error)), random.Random(0), tmp_path)


def test_a_right_result_is_no_defect(tmp_path):
    assert not try_case(_target(lambda path: None), random.Random(0), tmp_path)


@pytest.mark.parametrize(
    ('error', 'what'),
    [
        (TypeError, 'TypeError: '),
        (RecursionError, 'RecursionError: '),
        (MemoryError, 'MemoryError: '),
        (WrongResultError, 'WrongResultError: '),
        (ValueError('bad'), 'no sentence that names a file: ValueError: bad'),
        (KeyError('images'), 'no sentence'),
        (ValueError('this is a sentence about some other thing'), 'no sentence'),
    ],
)
def test_defects(tmp_path, error, what):
    with pytest.raises(DefectError, match=what):
        try_case(_target(_raise(error)), random.Random(0), tmp_path)


def test_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'PATIENCE', 0.05)
    with pytest.raises(DefectError, match=r'not done after 0\.05 s'):
        try_case(_target(lambda path: time.sleep(5)), random.Random(0), tmp_path)


@pytest.mark.skipif(not Path('/proc/self/statm').is_file(), reason='the limit needs Linux')
def test_a_reader_that_wants_all_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'MEMORY', 2**28)
    with pytest.raises(DefectError, match='MemoryError'):
        try_case(_target(lambda path: bytearray(2**30)), random.Random(0), tmp_path)
    bytearray(2**30)


def test_code_that_was_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = fresh_folder(tmp_path)
    with pytest.raises(DefectError, match='code of the file was run'):
        try_case(_target(lambda path: os.mkdir(MARK)), random.Random(0), folder)


def test_search_counts_and_goes_on():
    def read(path):
        number = len(path.read_bytes()) if path.is_file() else 0
        if number == 5:
            raise TypeError('five')
        raise ValueError(f'{path} is not what it should be')

    said: list[str] = []
    targets = [
        _target(read),
        Target('other', 'x', lambda: b'', lambda raw, rng: b'', _raise(ValueError)),
    ]
    first, second = search(20, seed=3, targets=targets, tell=said.append)
    assert (first.name, first.cases, second.cases) == ('toy', 10, 10)
    assert len(first.defects) == 1
    assert 'TypeError: five' in next(iter(first.defects.values()))
    assert (second.refused, second.defects) == (10, {})
    assert first.as_json()['refused'] == first.refused < 10
    assert said[1] == 'other: 10 files, 10 refused, 0 defects'
