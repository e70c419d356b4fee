"""Images of one split in another, by content."""

import pytest

from mmdet_ext.analysis.diagnosis.leakage import check_leakage, shared_files


@pytest.fixture
def write(tmp_path):
    def file(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return file


def test_same_content_under_other_names(write):
    first = [write('t/a.png', b'one'), write('t/b.png', b'two')]
    second = [write('v/x.png', b'two'), write('v/y.png', b'six')]
    assert shared_files(first, second) == [(first[1], second[0])]


def test_the_same_file_and_missing_ones(write, tmp_path):
    path = write('a.png', b'one')
    link = tmp_path / 'link.png'
    link.symlink_to(path)
    assert shared_files([path, path], [path, str(link), str(tmp_path / 'none.png')]) == [
        (path, path),
        (path, str(link)),
    ]


def test_only_files_of_equal_size_are_read(write, monkeypatch):
    read = []
    monkeypatch.setattr('mmdet_ext.analysis.diagnosis.leakage._hash', lambda path, known: read.append(path) or path)
    shared_files([write('a', b'1'), write('b', b'22')], [write('c', b'333'), write('d', b'44')])
    assert [path[-1] for path in read] == ['b', 'd']


def test_check(write):
    train = [write('t/a.png', b'one'), write('t/b.png', b'two')]
    check = check_leakage({'train': train, 'val': [write('v/x.png', b'two'), write('v/y.png', b'six')]})
    assert (check.passed, check.figures) == (False, {'val': 0.5})
    assert check.sentence == '1 of 2 images of val (50 %) are also in train, such as x.png = b.png.'


def test_check_without_leak(write):
    check = check_leakage({'train': [write('a', b'1')], 'val': [write('b', b'2')], 'test': []})
    assert (check.passed, check.figures) == (True, {'val': 0.0, 'test': 0.0})
    assert check.sentence == 'No image of val is in train; no image of test is in train.'
    assert check_leakage({'val': []}).passed is None
