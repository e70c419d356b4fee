"""Table and picture of a sweep."""

import csv

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmdet_ext.analysis.sweep.report import format_bytes, format_sweep, plot_sweep, write_sweep


def row(score_thr, top_k, value, size, nms_iou=None):
    base = {'nms_iou': nms_iou, 'score_thr': score_thr, 'top_k': top_k, 'detections': size / 100, 'most': 9}
    return {**base, 'metrics': {'mAP': value, 'AR': 0.5}, 'bytes': size}


RESULT = {
    'metrics': ['mAP', 'AR'],
    'rows': [row(0.0, 10, 0.357, 5000), row(0.0, 99, 0.4, 90_000), row(0.5, 10, 0.3, 400), row(0.5, 99, 0.3995, 700)],
    'best': {'mAP': 1, 'AR': 2},
    'notes': ['A note.'],
}
EMPTY = {'metrics': ['mAP'], 'rows': [{**row(0.1, 1, 0, 2, 0.5), 'metrics': {'mAP': None}}], 'best': {'mAP': None}}


def test_table_with_the_best_in_bold_and_what_comes_near_it():
    lines = format_sweep(RESULT).splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[:6]]
    assert cells[0] == ['score thr', 'top-k', 'mAP', 'AR', 'boxes per image', 'most', 'size']
    assert cells[2] == ['0', '10', '0.357', '0.500', '50.0', '9', '5.0 kB']
    assert cells[3][2:4] == ['**0.400**', '0.500']
    assert cells[4] == ['0.5', '10', '0.300', '**0.500**', '4.0', '9', '400 B']
    assert lines[7:] == [
        '- Best mAP: 0.400 at score threshold 0, top-k 99, 90.0 kB; '
        '0.400 takes 700 B at score threshold 0.5, top-k 99.',
        '- Best AR: 0.500 at score threshold 0.5, top-k 10, 400 B.',
        '- A note.',
    ]


def test_a_metric_without_value_and_nms():
    text = format_sweep({**EMPTY, 'notes': []})
    assert '| NMS IoU   |' in text
    assert '–' in text.splitlines()[2]
    assert text.endswith('- mAP: no value, there is nothing to find.\n')
    rows = [row(0.1, 1, 0.5, 2, 0.3), row(0.1, 1, 0.2, 2, 0.5)]
    text = format_sweep({**RESULT, 'rows': rows, 'best': {'mAP': 0, 'AR': 0}})
    assert 'Best mAP: 0.500 at score threshold 0.1, top-k 1, NMS IoU 0.3, 2 B.' in text


def test_bytes():
    numbers = (0, 999, 1000, 3_400_000, 5_000_000_000)
    assert [format_bytes(number) for number in numbers] == ['0 B', '999 B', '1.0 kB', '3.4 MB', '5.0 GB']


def test_lines_of_the_picture(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, out, **_: written.append(self))
    plot_sweep(RESULT, tmp_path / 'x.png')
    metric, boxes, size = written[0].axes
    assert [axes.get_title() for axes in written[0].axes] == ['mAP', 'boxes per image', 'size of the result in bytes']
    assert [line.get_ydata().tolist() for line in metric.lines[:2]] == [[0.357, 0.3], [0.4, 0.3995]]
    assert metric.lines[2].get_xydata().tolist() == [[0, 0.4]]
    assert [label.get_text() for label in metric.get_xticklabels()] == ['0', '0.5']
    assert [line.get_ydata().tolist() for line in boxes.lines] == [[50, 4], [900, 7]]
    assert [line.get_ydata().tolist() for line in size.lines] == [[5000, 400], [90_000, 700]]
    assert [text.get_text() for text in written[0].legends[0].get_texts()] == ['top-k 10', 'top-k 99']
    plot_sweep(EMPTY, tmp_path / 'x.png')
    assert [text.get_text() for text in written[1].legends[0].get_texts()] == ['top-k 1, NMS 0.5']
    assert len(written[1].axes[0].lines) == 1


def test_files(tmp_path):
    assert write_sweep(RESULT, tmp_path / 'new') == (tmp_path / 'new' / 'sweep.md').read_text() == format_sweep(RESULT)
    with (tmp_path / 'new' / 'sweep.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(found['mAP']) for found in rows] == pytest.approx([0.357, 0.4, 0.3, 0.3995])
    assert rows[0] == {
        'nms_iou': '', 'score_thr': '0.0', 'top_k': '10', 'mAP': '0.357', 'AR': '0.5', 'detections': '50.0',
        'most': '9', 'bytes': '5000',
    }  # fmt: skip
    assert np.ptp(cv2.imread(str(tmp_path / 'new' / 'sweep.png'))) > 100
