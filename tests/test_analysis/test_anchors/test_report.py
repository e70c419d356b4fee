"""Tables, config and picture of fitted anchors."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from mmengine.config import Config

from mmdet_ext.analysis.anchors.boxes import BoxSet
from mmdet_ext.analysis.anchors.heads import AnchorGrid, find_anchor_head
from mmdet_ext.analysis.anchors.overlap import measure
from mmdet_ext.analysis.anchors.report import (
    coverage_table,
    describe_uncovered,
    format_report,
    level_table,
    make_snippet,
    plot_anchors,
    write_anchor_table,
)
from tests.test_analysis.test_anchors.anchor_case import PLAIN, SSD, YOLO, boxes_on

GRID = AnchorGrid.of(PLAIN)
BOXES = boxes_on(PLAIN)
ROWS = {
    'config': measure(BOXES, GRID.shapes, GRID, 0.5, [0.5, 0.7]),
    'free clusters': measure(BOXES, GRID.shapes, None, 0.5, [0.5, 0.7]),
}


def test_tables():
    head, cells = coverage_table(ROWS, 0.5)
    assert head == [
        'anchors', 'mean IoU', 'recall at 0.5', 'recall at 0.7', 'mean IoU on the grid', 'best possible recall at 0.5'
    ]  # fmt: skip
    assert cells[0] == ['config', '1.000', '1.000', '1.000', '1.000', '1.000']
    assert cells[1][-2:] == ['–', '–']
    head, levels = level_table(GRID, ROWS['config'])
    assert [row[0] for row in levels] == ['8', '16']
    assert levels[0][1] == '32x8, 64x16, 16x16, 32x32'
    assert sum(float(row[2].rstrip('%')) for row in levels) == pytest.approx(100, abs=0.2)
    text = format_report((['a'], [['1']]), {'config': (['b'], [['2']])}, ['A sentence.'])
    assert text.splitlines()[4] == 'Levels, config:'
    assert text.endswith('- A sentence.\n')


def test_a_level_without_boxes_has_no_mean():
    boxes = BoxSet(np.array([[0.0, 0, 16, 16]]), np.array([[512.0, 512]]), images=1)
    _, levels = level_table(GRID, measure(boxes, GRID.shapes, GRID, 0.5, [0.5]))
    assert [row[2:] for row in levels] == [['100.0%', levels[0][3]], ['0.0%', '–']]


def test_boxes_that_nothing_reaches():
    assert describe_uncovered(BOXES, GRID, ROWS['config'], 0.5) is None

    def sentence(side):
        boxes = BoxSet(np.array([[100.0, 100, 100 + side, 100 + side]] * 4), np.full((4, 2), 512.0), images=1)
        return describe_uncovered(boxes, GRID, measure(boxes, GRID.shapes, GRID, 0.5, [0.5]), 0.5)

    assert sentence(4) == (
        '4 of 4 boxes have no anchor with an IoU of 0.5; 4 of them have a side below 8 pixels, the finest stride: a '
        'finer level or larger images would reach them.'
    )
    assert sentence(300).startswith('4 of 4 boxes have no anchor with an IoU of 0.5: more ratios or scales would')


@pytest.mark.parametrize('options', [PLAIN, SSD, YOLO], ids=['plain', 'ssd', 'yolo'])
@pytest.mark.parametrize('place', ['model.rpn_head', 'model.rpn_head.stages.1'])
def test_the_snippet_is_a_config(tmp_path, options, place):
    old = dict(type='AnchorGenerator', strides=[4], scales=[8], ratios=[1.0], center_offset=0.5)
    stage = dict(type='RPNHead', in_channels=9, anchor_generator=old)
    rpn = dict(stages=[dict(stage), dict(stage)]) if 'stages' in place else dict(stage)
    base = tmp_path / 'base.py'
    base.write_text(f'model = dict(type="X", rpn_head={rpn!r})\n')
    cfg = Config.fromfile(base)
    new = tmp_path / 'sub' / 'new.py'
    new.parent.mkdir()
    fitted = {**options, 'strides': tuple(options['strides'])}
    new.write_text(make_snippet(cfg, base, f'{place}.anchor_generator', fitted))
    read = Config.fromfile(new)
    head = find_anchor_head(read, place)
    assert head.options == fitted
    assert read.model.type == 'X'
    ours, theirs = AnchorGrid.of(head.options), AnchorGrid.of(options)
    np.testing.assert_array_equal(ours.shapes, theirs.shapes)
    np.testing.assert_array_equal(ours.centres, theirs.centres)
    others = read.model.rpn_head.stages[0] if 'stages' in place else read.model.rpn_head
    assert others.in_channels == 9
    if 'stages' in place:
        assert others.anchor_generator == old


def test_the_base_of_the_snippet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config(dict(model=dict(bbox_head=dict(anchor_generator=PLAIN))))
    key = 'model.bbox_head.anchor_generator'
    assert make_snippet(cfg, 'mmdet::a/b.py', key, PLAIN).startswith("_base_ = 'mmdet::a/b.py'\n")
    assert make_snippet(cfg, 'c.py', key, PLAIN).startswith(f"_base_ = '{tmp_path / 'c.py'}'\n")
    numbers = {**PLAIN, 'scales': [np.float64(2.5)]}
    text = make_snippet(cfg, 'c.py', key, numbers)
    assert text.splitlines()[1:7] == [
        'model = dict(',
        '    bbox_head=dict(',
        '        anchor_generator=dict(',
        '            _delete_=True,',
        "            type='AnchorGenerator',",
        '            strides=[8, 16],',
    ]
    assert 'scales=[2.5],' in text


def test_files(tmp_path, monkeypatch):
    path = write_anchor_table(tmp_path / 'a.csv', {'config': GRID})
    lines = path.read_text().splitlines()
    assert lines[:2] == ['anchors,level,stride,width,height', 'config,0,8.0,32.0,8.0']
    assert len(lines) == 9
    written = []
    monkeypatch.setattr(Figure, 'savefig', lambda self, out, **_: written.append(self))
    plot_anchors(BOXES, {'config': GRID.shapes, 'free clusters': GRID.shapes}, ROWS, tmp_path / 'x.png')
    left, right = written[0].axes
    assert [line.get_label() for line in left.lines] == ['boxes', 'config', 'free clusters']
    assert len(left.lines[1].get_xdata()) == len(GRID)
    assert [line.get_label() for line in right.lines] == ['config, on the grid', 'free clusters, shapes alone']
    assert right.lines[0].get_ydata()[[0, -1]].tolist() == [1, 1]
