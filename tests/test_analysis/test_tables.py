"""Markdown and CSV."""

import csv

from mmdet_ext.analysis.tables import markdown_table, write_csv


def test_cells_stay_as_they_are_and_a_bar_ends_none():
    lines = markdown_table(['a', 'b'], [['1.50', 'x|y'], ['1e5', '']]).splitlines()
    assert [cell.strip() for cell in lines[2].split(' | ')] == ['| 1.50', 'x\\|y |']
    assert lines[3].split() == ['|', '1e5', '|', '|']


def test_csv_makes_its_folder_and_leaves_none_empty(tmp_path):
    path = write_csv(tmp_path / 'new' / 'a.csv', ['a', 'b, c'], [[1, None], [0.1, 'x"y']])
    with path.open(newline='') as file:
        assert list(csv.reader(file)) == [['a', 'b, c'], ['1', ''], ['0.1', 'x"y']]
