"""Tables of benchmarks on the site."""

import json

import pytest

from tests.markdown_blocks import ROOT
from tests.test_docs.building import load

speed = load('speed')


def write(folder, name, **other):
    summary = {
        'title': 'a | b', 'sibling': 'mmdet', 'best_s': {'ours': 0.0123, 'sibling': 2.5},
        'ratio_best': 203.25, 'ratio_median': 200, 'memory_share': None, **other,
    }  # fmt: skip
    file = folder / speed.FILE
    file.parent.mkdir(exist_ok=True)
    rows = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**rows, name: {'summary': summary}}))


def test_a_line_becomes_a_table(tmp_path):
    write(tmp_path, 'one')
    write(tmp_path, 'two-b', title='c', memory_share=0.12, ratio_best=0.994, limit_s=0.0012, limit_by='bytes')
    lines = speed.fill_speed_tables('A\n\n<!-- speed one two-b -->\n\nB', tmp_path).splitlines()
    assert lines[:2] == ['A', '']
    assert lines[4] == '| a \\| b | mmdet | 12.3 ms | 2.50 s | 203.25 | 200.00 |  |  |'
    assert lines[5] == '| c | mmdet | 12.3 ms | 2.50 s | 0.99 | 200.00 | 1.2 ms, bytes | 1/8 |'
    assert lines[6:] == ['', 'B']


def test_other_text_stays(tmp_path):
    text = '<!-- speedy one -->\n`<!-- speed one -->`\n'
    assert speed.fill_speed_tables(text, tmp_path) == text


def test_a_missing_benchmark_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='speed'):
        speed.fill_speed_tables('<!-- speed gone -->', tmp_path)
    write(tmp_path, 'one')
    with pytest.raises(KeyError, match='has no row gone, lost: `make bench` measures it'):
        speed.fill_speed_tables('<!-- speed gone one lost -->', tmp_path)


def test_the_page_names_every_benchmark_of_speed():
    page = (ROOT / 'docs/speed.md').read_text()
    named = [name for line in page.splitlines() if line.startswith('<!-- speed') for name in line.split()[2:-1]]
    assert sorted(named) == sorted(json.loads((ROOT / speed.FILE).read_text()))
