"""Thresholds, top-k, NMS, and how predictions were cut before they were stored."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmdet_ext.analysis.sweep.settings import (
    Cut,
    Setting,
    apply_nms,
    cut_notes,
    make_settings,
    select,
    stored_cut,
)
from tests.test_analysis.test_sweep.sweep_case import image

NMS = {'type': 'nms', 'iou_threshold': 0.5}
UNCUT = Cut('model.test_cfg', None, None, None)
# Twice the same place (IoU 0.8 and more), and one elsewhere.
BOXES = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 8.0], [30.0, 0.0, 40.0, 10.0]]


def config(**test_cfg):
    return Config({'model': {'test_cfg': test_cfg}})


def test_the_grid_is_sorted_and_has_no_repetitions():
    assert make_settings([0.5, 0.1, 0.1], [30, 10]) == [
        Setting(None, 0.1, 10), Setting(None, 0.1, 30), Setting(None, 0.5, 10), Setting(None, 0.5, 30),
    ]  # fmt: skip
    assert [setting.nms_iou for setting in make_settings([0], [1], [0.7, 0.3])] == [0.3, 0.7]
    assert str(Setting(None, 0.05, 100)) == 'score threshold 0.05, top-k 100'
    assert str(Setting(0.5, 0.0, 100)) == 'score threshold 0, top-k 100, NMS IoU 0.5'


@pytest.mark.parametrize(
    ('grid', 'sentence'),
    [
        (([], [1]), 'at least one score threshold and one top-k'),
        (([0.1], []), 'at least one score threshold and one top-k'),
        (([1.0], [1]), 'at least 0 and below 1, got 1.0'),
        (([-0.1], [1]), 'got -0.1'),
        (([0.1], [0]), 'top-k must be a whole number from 1 on, got 0'),
        (([0.1], [1.5]), 'got 1.5'),
        (([0.1], [1], [0.0]), 'NMS IoU must be above 0 and at most 1, got 0.0'),
        (([0.1], [1], [1.5]), 'got 1.5'),
    ],
)
def test_bad_grids(grid, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_settings(*grid)


def test_cut_of_one_stage_and_of_two():
    images = [image([0.9, 0.1])]
    cut = stored_cut(config(score_thr=0.05, max_per_img=100, nms=NMS), images)
    assert cut == Cut('model.test_cfg', 0.05, 100, NMS)
    cut = stored_cut(config(rpn={'max_per_img': 9}, rcnn={'score_thr': 0.05, 'max_per_img': 100}), images)
    assert cut == Cut('model.test_cfg.rcnn', 0.05, 100, None)
    assert stored_cut(config(rcnn=[{'score_thr': 0.5}]), images) == Cut('model.test_cfg.rcnn', None, None, None)
    assert stored_cut(Config({'model': {}}), []) == UNCUT
    assert stored_cut(config(max_per_img=-1), images).top_k is None


def test_predictions_that_contradict_the_config():
    cut = stored_cut(config(score_thr=0.5, max_per_img=2), [image([]), image([0.9, 0.8, 0.1])])
    assert (cut.score_thr, cut.top_k) == (None, None)
    thr, top_k = cut_notes(make_settings([0], [9]), cut, [image([0.9])])
    assert thr.startswith(
        "The stored predictions do not fit the config's model.test_cfg.score_thr=0.5, as there are scor"
    )
    assert 'as there are scores down to 0.1: they' in thr
    assert "the config's model.test_cfg.max_per_img=2, as there are 3 boxes in an image" in top_k


def test_notes_on_what_was_cut():
    images, grid = [image([0.9, 0.6])], make_settings([0.005, 0.05, 0.1], [1, 2, 300])
    assert cut_notes(grid, UNCUT, images) == []
    low, high = cut_notes(grid, Cut('model.test_cfg.rcnn', 0.05, 2, NMS), images)
    assert low == (
        'The stored predictions were cut at a score of 0.05 (model.test_cfg.rcnn.score_thr): the rows at 0.005 are '
        'those at 0.05. For lower scores store them again by tools/test.py CONFIG CHECKPOINT --out FILE.pkl '
        '--cfg-options model.test_cfg.rcnn.score_thr=0.005.'
    )
    assert 'cut at 2 boxes per image (model.test_cfg.rcnn.max_per_img): the rows at top-k 300 are those at 2' in high
    assert high.endswith('model.test_cfg.rcnn.max_per_img=300.')
    # No image has as many boxes as were allowed: nothing was lost.
    assert cut_notes(grid, Cut('x', None, 100, None), images) == []


def test_notes_on_a_second_nms():
    images = [image([0.9])]
    (note,) = cut_notes(make_settings([0], [1], [0.3, 0.6]), Cut('model.test_cfg', None, None, NMS), images)
    assert 'went through NMS at an IoU of 0.5 (model.test_cfg.nms)' in note
    assert 'The rows at 0.6 hold what NMS at 0.5 left.' in note
    assert note.endswith('model.test_cfg.nms.iou_threshold=1.0.')
    (note,) = cut_notes(make_settings([0], [1], [0.3]), Cut('model.test_cfg', None, None, NMS), images)
    assert 'The rows' not in note
    exact = {'type': 'nms', 'iou_threshold': 1.0}
    assert cut_notes(make_settings([0], [1], [0.3]), Cut('x', None, None, exact), images) == []


def test_nms_by_class_or_for_all():
    stored = [image([0.5, 0.9, 0.7, 0.8], BOXES, [0, 0, 1, 0]), image([])]
    plain, empty = apply_nms(stored, None, UNCUT)
    assert plain.scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.5])
    assert len(empty.scores) == 0
    by_class, empty = apply_nms(stored, 0.5, UNCUT)
    assert by_class.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert len(empty.scores) == 0
    agnostic = Cut('x', None, None, {**NMS, 'class_agnostic': True})
    assert apply_nms(stored, 0.5, agnostic)[0].scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(apply_nms(stored, 0.95, UNCUT)[0].scores) == 4


def test_soft_nms_is_not_repeated():
    soft = Cut('model.test_cfg.rcnn', None, None, {'type': 'soft_nms'})
    with pytest.raises(ValueError, match=r"model.test_cfg.rcnn.nms is of type 'soft_nms', which changes scores"):
        apply_nms([image([0.5])], 0.5, soft)
    assert len(apply_nms([image([0.5])], None, soft)) == 1


@settings(deadline=None, max_examples=40)
@given(
    scores=st.lists(st.floats(0, 1, width=32), max_size=8),
    thr=st.sampled_from([0.0, 0.25, 0.5]),
    top_k=st.integers(1, 9),
)
def test_selection_equals_a_loop(scores, thr, top_k):
    (ordered,) = apply_nms([image(scores)], None, UNCUT)
    (kept,) = select([ordered], Setting(None, thr, top_k))
    assert kept.scores.tolist() == sorted((score for score in scores if score > thr), reverse=True)[:top_k]
    assert kept.bboxes.shape == (len(kept.scores), 4)
    # Each box goes with its score.
    places = (kept.bboxes[:, 0] / 10).long().tolist()
    assert torch.tensor(scores)[places].tolist() == kept.scores.tolist()
