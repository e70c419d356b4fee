"""Images of one split in another, by content."""

import pytest

from mmdet_ext.analysis.diagnosis import leakage as module
from mmdet_ext.analysis.diagnosis.leakage import check_leakage, shared_files, shared_pixels


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
    monkeypatch.setattr(module, '_hash', lambda path: read.append(path) or path.encode())
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


def test_files_keep_their_names(write):
    check = check_leakage({'train': [write('t/IMG_A.JPG', b'one')], 'val': [write('v/Val X.png', b'one')]})
    assert check.sentence == '1 of 1 images of val (100 %) are also in train, such as Val X.png = IMG_A.JPG.'


def test_many_files_of_one_size(write, monkeypatch):
    """As uncompressed images have: every file is read once, and none is compared with all others."""
    read = []
    plain = module._hash
    monkeypatch.setattr(module, '_hash', lambda path: read.append(path) or plain(path))
    first = [write(f't/{n:02d}', f'{n:02d}'.encode()) for n in range(20)]
    second = [write(f'v/{n:02d}', f'{n:02d}'.encode()) for n in range(15, 30)]
    assert shared_files(first, second) == list(zip(first[15:], second[:5], strict=True))
    assert sorted(read) == [*first, *second]


def test_files_that_cannot_be_read(tmp_path, write):
    """A folder has a size, but no content."""
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
    folders = [str(tmp_path / name) for name in ('one', 'two')]
    assert shared_files([folders[0], write('a', b'1')], [folders[1], write('b', b'1')])[0][0].endswith('a')


def test_copies_in_another_format_are_known_by_their_pixels(write):
    one, two, other = write('a.png', b'one'), write('b.jpg', b'two of another format'), write('c.png', b'three')
    digests = {'train': {one: 'x', other: 'y'}, 'val': {two: 'x'}}
    assert shared_pixels(digests['train'], digests['val']) == [(one, two)]
    assert check_leakage({'train': [one, other], 'val': [two]}).passed
    check = check_leakage({'train': [one, other], 'val': [two]}, digests)
    assert not check.passed
    assert check.sentence == '1 of 1 images of val (100 %) are also in train, such as b.jpg = a.png.'


def test_a_copy_found_both_ways_counts_once(write):
    one, two = write('a.png', b'one'), write('b.png', b'one')
    check = check_leakage({'train': [one], 'val': [two]}, {'train': {one: 'x'}, 'val': {two: 'x'}})
    assert check.figures == {'val': 1.0}
