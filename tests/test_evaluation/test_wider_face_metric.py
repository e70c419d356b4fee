"""Easy, medium and hard AP from data samples."""

import json

import pytest
from mmengine.registry import init_default_scope

from mmdet_ext.evaluation import WiderFaceMetric, wider_face_metric
from tests.test_evaluation.face_case import evaluate, sample
from tests.test_evaluation.wider_case import IMAGES, write_mats


def corners(boxes):
    return [[x, y, x + w, y + h] for x, y, w, h in boxes]


def official(images=IMAGES, **changes):
    return [
        sample(changes.get(file, corners(boxes)), img_id=k, img_path=f'data/WIDER_val/images/{event}/{file}.jpg')
        for k, (event, file, boxes, _) in enumerate(images)
    ]


@pytest.fixture
def mats(tmp_path):
    return str(write_mats(tmp_path / 'ground_truth'))


@pytest.fixture
def annotations(tmp_path):
    """Two images, one without faces; heights 40, 20, 10 and 4, and a crowd."""
    path = tmp_path / 'ann.json'
    boxes = [(0, 0, 30, 40), (50, 0, 15, 20), (80, 0, 8, 10), (100, 0, 3, 4)]
    common = dict(image_id=1, category_id=3, area=1)
    faces = [dict(id=k, bbox=list(box), iscrowd=0, **common) for k, box in enumerate(boxes)]
    path.write_text(json.dumps({
        'images': [dict(id=1, width=200, height=50), dict(id=2, width=200, height=50)],
        'categories': [dict(id=3, name='face')],
        'annotations': [*faces, dict(id=9, bbox=[150, 0, 40, 50], iscrowd=1, **common)],
    }))  # fmt: skip
    return str(path)


FACES = [[0, 0, 30, 40], [50, 0, 65, 20], [80, 0, 88, 10], [100, 0, 103, 4]]
CROWD, NOTHING = [150, 0, 190, 50], [0, 45, 5, 50]


def test_perfect_on_the_official_files(mats):
    scores = evaluate(WiderFaceMetric(settings=mats), official())
    assert scores == {f'wider_face/{name}_AP': pytest.approx(1) for name in ('easy', 'medium', 'hard')}


def test_settings_by_hand(mats):
    """Only the small face of the first image and the one of the second are found, and something wrong, in this order.

    Easy: of 2 faces none. Medium: of 3 none. Hard: of 5 faces 2, at precision 1/1 and 2/2.
    """
    found = {
        '0_Parade_1': [[200, 10, 208, 20]],
        '0_Parade_2': corners(IMAGES[1][2]),
        '1_Handshaking_7': [[300, 300, 310, 310]],
    }
    samples = official(**found)
    for one, score in zip(samples, (0.9, 0.8, 0.1), strict=True):
        one['pred_instances']['scores'][:] = score
    scores = evaluate(WiderFaceMetric(settings=mats), samples)
    assert scores == {'wider_face/easy_AP': 0, 'wider_face/medium_AP': 0, 'wider_face/hard_AP': pytest.approx(0.4)}


def test_images_are_found_by_their_id_too(mats):
    samples = official()
    for one, image in zip(samples, IMAGES, strict=True):
        one['img_id'] = f'{image[0]}/{image[1]}'
        del one['img_path']
    assert evaluate(WiderFaceMetric(settings=mats), samples)['wider_face/hard_AP'] == pytest.approx(1)
    with pytest.raises(KeyError, match=r"knows neither '3' nor 'images/new'; it wants images as EVENT/FILE\.jpg"):
        WiderFaceMetric(settings=mats).process({}, [sample([], img_id=3, img_path='images/new.jpg')])


def test_fewer_images_than_the_official_set(mats, monkeypatch):
    said = []
    monkeypatch.setattr(wider_face_metric, 'print_log', lambda message, **_: said.append(message))
    assert evaluate(WiderFaceMetric(settings=mats), official()[2:])['wider_face/hard_AP'] == pytest.approx(1)
    assert [f'1 of the 3 images in {mats} were evaluated' in message for message in said] == [True]
    evaluate(WiderFaceMetric(settings=mats), official())
    assert len(said) == 1


def test_heights_of_a_coco_file(annotations):
    """Every face is found; easy ignores three of them, medium two, hard one, and the crowd never counts."""
    both = [sample([*FACES, CROWD]), sample([], img_id=2)]
    scores = evaluate(WiderFaceMetric(ann_file=annotations), both)
    assert scores == {f'wider_face/{name}_AP': pytest.approx(1) for name in ('easy', 'medium', 'hard')}
    # Without the smallest two: hard finds 2 of 3.
    scores = evaluate(WiderFaceMetric(ann_file=annotations), [sample(FACES[:2]), sample([], img_id=2)])
    assert scores['wider_face/medium_AP'] == pytest.approx(1)
    assert scores['wider_face/hard_AP'] == pytest.approx(2 / 3)


def test_own_heights(annotations):
    metric = WiderFaceMetric(ann_file=annotations, heights=dict(all=0, middle=(10, 40), giant=400), prefix='own')
    scores = evaluate(metric, [sample(FACES[1:]), sample([], img_id=2)])
    assert scores == {'own/all_AP': pytest.approx(0.75), 'own/middle_AP': pytest.approx(1), 'own/giant_AP': -1}


@pytest.mark.parametrize(('empty_images', 'expected'), [('skip', 1.0), ('count', 0.75)])
def test_detections_where_there_is_no_face(annotations, empty_images, expected):
    """Four faces at 0.5 and one wrong detection at 0.9 elsewhere: counted, precision ends at 3/4 for the three of hard.

    Hard counts 3 faces: the curve is one point of recall 1 with 3 right of 4 shown.
    """
    samples = [sample(FACES, scores=[0.5] * 4), sample([NOTHING], scores=[0.9], img_id=2)]
    scores = evaluate(WiderFaceMetric(ann_file=annotations, empty_images=empty_images), samples)
    assert scores['wider_face/hard_AP'] == pytest.approx(expected)


def test_truth_of_the_samples(annotations):
    truth = {'bboxes': FACES, 'labels': [0, 0, 1, 0]}
    one = sample([*FACES, NOTHING], labels=[0, 0, 1, 0, 1], truth=truth)
    one['ignored_instances'] = sample([CROWD])['pred_instances']
    metric = WiderFaceMetric(heights=dict(all=0))
    assert evaluate(metric, [one]) == {'wider_face/all_AP': pytest.approx(1)}
    assert metric.results == []
    metric.process({}, [one])
    assert metric.results[0]['keeps'].tolist() == [[True, True, True, False]]


def test_nothing_at_all(annotations):
    empty = [sample([]), sample([], img_id=2)]
    assert set(evaluate(WiderFaceMetric(ann_file=annotations), empty).values()) == {0}
    assert set(evaluate(WiderFaceMetric(ann_file=annotations), [sample([CROWD], img_id=2)]).values()) == {-1}
    assert set(evaluate(WiderFaceMetric(ann_file=annotations), []).values()) == {-1}
    bad = sample([*FACES, [float('nan')] * 4], scores=[0.9, 0.8, 0.7, float('nan'), 1.0])
    scores = evaluate(WiderFaceMetric(ann_file=annotations), [bad, sample([], img_id=2)])
    assert scores['wider_face/hard_AP'] == pytest.approx(1)


def test_from_a_config(annotations):
    from mmdet.registry import METRICS

    init_default_scope('mmdet')
    assert METRICS.build(dict(type='WiderFaceMetric', ann_file=annotations)).names == ['easy', 'medium', 'hard']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(settings='x', heights=dict(easy=1)), 'leave heights and ann_file out'),
        (dict(settings='x', ann_file='y'), 'leave heights and ann_file out'),
        (dict(iou_thr=0), 'iou_thr must be a number 0 < IoU <= 1, got 0'),
        (dict(num_thresholds=0), 'num_thresholds must be a whole number from 1, got 0'),
        (dict(num_thresholds=10.5), 'num_thresholds'),
        (dict(empty_images='maybe'), "'skip' or 'count', got 'maybe'"),
        (dict(heights={}), 'must name one setting or more'),
        (dict(heights=dict(easy=(9, 3))), r"heights of 'easy' must be a number or rise, got \(9, 3\)"),
        (dict(heights=dict(easy=-1)), "heights of 'easy'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        WiderFaceMetric(**options)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='eval_tools'):
        WiderFaceMetric(settings=str(tmp_path))
    with pytest.raises(FileNotFoundError, match='ann_file must be the COCO json'):
        WiderFaceMetric(ann_file=str(tmp_path / 'none.json'))
