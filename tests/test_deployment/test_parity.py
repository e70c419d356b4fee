from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv import imwrite

from mmdet_ext.deployment.parity import BOX_TOL, SCORE_TOL, Found, compare, load_image, onnx_feed, run_onnx, verify

from .export_case import PARTS, build, one_stage, picture, sample

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_shape', 'scale_factor')),
]


def found(scores: list[float], labels: list[int] | None = None, shift: float = 0.0, points: bool = False) -> Found:
    corner = np.arange(len(scores), dtype=np.float32)[:, None] * 20 + [[0, 0, 9, 9]]
    keypoints = np.zeros((len(scores), 5, 2)) if points else None
    return Found(corner + shift, np.array(scores), np.array(labels or [0] * len(scores)), keypoints)


def test_equal_in_another_order() -> None:
    one = found([0.9, 0.8, 0.7])
    two = Found(one.boxes[::-1], one.scores[::-1], one.labels)
    result = compare('a', one, two)
    assert (result.matched, result.unmatched, result.box_error, result.same) == (3, 0, 0, True)


def test_errors_are_the_largest() -> None:
    result = compare('a', found([0.9, 0.8]), found([0.9, 0.8004], shift=BOX_TOL / 2))
    assert result.box_error == pytest.approx(BOX_TOL / 2, rel=1e-3)
    assert result.score_error == pytest.approx(4e-4)
    assert result.same


@pytest.mark.parametrize(
    'other',
    [
        found([0.9, 0.8], shift=2 * BOX_TOL),
        found([0.9 - 2 * SCORE_TOL, 0.8 - 2 * SCORE_TOL]),
        found([0.9, 0.8], labels=[1, 1]),
    ],
)
def test_other_box_score_or_label(other: Found) -> None:
    result = compare('a', found([0.9, 0.8]), other)
    assert (result.matched, result.unmatched, result.same) == (0, 4, False)


def test_landmarks_count() -> None:
    one, two = found([0.9], points=True), found([0.9], points=True)
    assert two.keypoints is not None
    two.keypoints[0, 3, 1] = 0.05
    assert compare('a', one, two).box_error == pytest.approx(0.05)
    two.keypoints[0, 3, 1] = 1
    assert compare('a', one, two).unmatched == 2


def test_missing_at_the_threshold_is_excused() -> None:
    assert compare('a', found([0.9, 0.3004]), found([0.9]), score_thr=0.3).unmatched == 0
    assert compare('a', found([0.9, 0.302]), found([0.9]), score_thr=0.3).unmatched == 1


def test_other_end_of_a_full_list_is_excused() -> None:
    one, two = found([0.9, 0.5]), found([0.9, 0.5004])
    two.boxes[1] += 50
    assert compare('a', one, two, max_num=2).unmatched == 0
    assert compare('a', one, two, max_num=3).unmatched == 2


def test_one_of_a_hundred_may_flip() -> None:
    scores = list(np.linspace(0.9, 0.4, 60))
    assert compare('a', found(scores), found(scores[:-1])).same
    assert not compare('a', found(scores), found(scores[:-2])).same


@pytest.mark.parametrize(('one', 'two', 'unmatched'), [([], [], 0), ([0.9], [], 1), ([], [0.9], 1)])
def test_nothing_found(one: list[float], two: list[float], unmatched: int) -> None:
    result = compare('a', found(one), found(two))
    assert (result.matched, result.unmatched, result.same) == (0, unmatched, not unmatched)


def test_feed_puts_parts_in_order() -> None:
    data = sample(picture(), parts=True)
    feed = onnx_feed(data, PARTS[::-1])
    assert feed['images'].shape == (1, 3, 70, 90)
    assert feed['part_boxes'][0, 0].tolist() == data['data_samples'].parts.bboxes[1].tolist()
    assert set(onnx_feed(data, ())) == {'images'}


def test_feed_wants_its_parts() -> None:
    with pytest.raises(ValueError, match=r"the image has the parts \['left', 'right'\], the graph needs \['heart'\]"):
        onnx_feed(sample(picture(), parts=True), ['heart'])
    with pytest.raises(ValueError, match=r'the image has the parts \[\]'):
        onnx_feed(sample(picture()), ['heart'])


def test_feed_wants_bytes() -> None:
    with pytest.raises(ValueError, match=r'gives torch.float32, the graph wants uint8: load without to_float32'):
        onnx_feed(sample(picture().float()), ())


class Value:
    def __init__(self, name: str, shape: list[Any] | None = None) -> None:
        self.name, self.shape = name, shape


class Session:
    """What torch finds, as if onnxruntime had found it."""

    def __init__(self, model: Any, size: list[Any]) -> None:
        self.model, self.size = model, size

    def get_inputs(self) -> list[Value]:
        return [Value('images', ['batch', 3, *self.size])]

    def get_outputs(self) -> list[Value]:
        return [Value(name) for name in ('boxes', 'scores', 'labels', 'image')]

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        from mmdet_ext.deployment.detector import DeployedDetector, PlainDetector

        with torch.no_grad():
            outputs = PlainDetector(DeployedDetector(self.model))(torch.from_numpy(feed['images']))
        return [x.numpy() for x in outputs]


def test_runs_of_a_batch_are_split() -> None:
    session = Session(build(one_stage()), ['height', 'width'])
    images = np.stack([picture().numpy(), picture(seed=1).numpy()])
    both = run_onnx(session, {'images': images})
    for i, own in enumerate(both):
        (alone,) = run_onnx(session, {'images': images[i : i + 1]})
        np.testing.assert_allclose(own.scores, alone.scores, atol=1e-5)
        assert own.keypoints is None


def test_verify_reads_files(tmp_path: Path) -> None:
    model = build(one_stage())
    imwrite(picture(75, 90).permute(1, 2, 0).numpy(), str(tmp_path / 'a.png'))
    (result,) = verify(Session(model, ['height', 'width']), model, PIPELINE, [tmp_path / 'a.png'])
    assert (result.image, result.same, result.unmatched) == ('a.png', True, 0)
    assert result.matched > 5
    with pytest.raises(ValueError, match=r'a.png is \[75, 90\] pixels high and wide .* the graph takes \[64, 64\]'):
        verify(Session(model, [64, 64]), model, PIPELINE, [tmp_path / 'a.png'])


def test_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='There is no image'):
        load_image(PIPELINE, tmp_path / 'b.png')
