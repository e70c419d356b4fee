"""Planted faults: which images, which kind, and that everything else stays as it is."""

import json

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.label_noise import plant_label_noise
from mmdet_ext.datasets.screened_list import read_screened_list

CLASSES = ('a', 'b', 'c')


@pytest.fixture
def source(tmp_path):
    """20 images of 100 x 80 with 3 objects each, one without, one with a crowd alone; polygons, and one RLE mask."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image in range(22):
        images.append({'id': 100 - image, 'file_name': f'{image}.png', 'width': 100, 'height': 80})
        for _ in range(3 if image < 20 else 21 - image):
            w, h = (float(v) for v in rng.integers(5, 30, 2))
            x, y = float(rng.integers(0, 100 - w)), float(rng.integers(0, 80 - h))
            mask = [[x, y, x + w, y, x + w, y + h]]
            annotations.append(
                {'id': len(annotations) + 1, 'image_id': 100 - image, 'category_id': int(rng.integers(3)) + 1,
                 'bbox': [x, y, w, h], 'area': w * h, 'iscrowd': int(image == 20), 'segmentation': mask}
            )  # fmt: skip
    annotations[0]['segmentation'] = {'counts': [0, 8000], 'size': [80, 100]}
    categories = [{'id': index + 1, 'name': name} for index, name in enumerate(CLASSES)]
    path = tmp_path / 'train.json'
    path.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return path


@pytest.fixture
def plant(source, tmp_path):
    """Gives what was returned, annotations by image before and after, and the list (image id to kind)."""

    def call(**options):
        done = plant_label_noise(source, tmp_path / 'noisy.json', **options)
        files = [json.loads(path.read_text()) for path in (source, tmp_path / 'noisy.json')]
        grouped = [
            {image['id']: [a for a in coco['annotations'] if a['image_id'] == image['id']] for image in coco['images']}
            for coco in files
        ]
        assert files[0]['images'] == files[1]['images']
        kinds = {item['image_id']: item['reasons'][0] for item in read_screened_list(done['list'])['images']}
        return done, *grouped, kinds

    return call


def test_only_the_images_of_the_list_change(plant):
    done, before, after, kinds = plant(share=0.4)
    assert {key for key in before if before[key] != after[key]} == set(kinds)
    # 20 images have objects that count.
    assert len(kinds) == sum(done['planted'].values()) == 8
    assert done['images'] == 22
    assert {100 - 20, 100 - 21}.isdisjoint(kinds)
    counted = {f'planted: {kind}': number for kind, number in done['planted'].items()}
    assert counted == {kind: list(kinds.values()).count(kind) for kind in counted}


def test_every_object_of_an_image_gets_another_class(plant):
    _, before, after, kinds = plant(share=1, kinds=['label'])
    assert len(kinds) == 20
    for key in kinds:
        for old, new in zip(before[key], after[key], strict=True):
            assert new['category_id'] != old['category_id']
            assert dict(new, category_id=0) == dict(old, category_id=0)
    assert {a['category_id'] for own in after.values() for a in own} == {1, 2, 3}


def test_boxes_move_inside_the_image_with_their_polygons(plant):
    _, before, after, kinds = plant(share=1, kinds=['box'])
    for key in kinds:
        for old, new in zip(before[key], after[key], strict=True):
            assert (new['bbox'][2:], new['category_id']) == (old['bbox'][2:], old['category_id'])
            x, y, w, h = new['bbox']
            assert 0 <= x <= 100 - w
            assert 0 <= y <= 80 - h
            # Boxes of at most 30 of 100 x 80 pixels always have room elsewhere.
            dx, dy = x - old['bbox'][0], y - old['bbox'][1]
            assert max(0, w - abs(dx)) * max(0, h - abs(dy)) < 0.1 * w * h
            if isinstance(old['segmentation'], dict):
                assert new['segmentation'] == [[x, y, x + w, y, x + w, y + h, x, y + h]]
            else:
                moved = np.array(old['segmentation'][0]).reshape(-1, 2) + np.array([dx, dy])
                assert np.array(new['segmentation'][0]).reshape(-1, 2) == pytest.approx(moved, abs=0.02)


def test_half_of_the_objects_are_missing(plant):
    _, before, after, kinds = plant(share=1, kinds=['missing'])
    for key in kinds:
        assert len(after[key]) == 1
        assert after[key][0] in before[key]


def test_a_larger_share_holds_the_smaller_one_and_another_seed_does_not(plant):
    small, large, other = (plant(share=s, seed=seed) for s, seed in ((0.2, 3), (0.6, 3), (0.2, 4)))
    assert large[3].items() > small[3].items()
    assert {key: large[2][key] for key in small[3]} == {key: small[2][key] for key in small[3]}
    assert set(other[3]) != set(small[3])
    assert plant(share=0.2, seed=3)[1:] == small[1:]


def test_nothing_is_planted(plant):
    _, before, after, kinds = plant(share=0)
    assert (before, kinds) == (after, {})


def test_the_list_is_for_a_data_set_and_the_file_for_mmdet(plant, tmp_path):
    done, *_, kinds = plant(share=0.5)
    init_default_scope('mmdet')
    dataset = DATASETS.build(
        dict(type='ScreenedCocoDataset', ann_file=str(tmp_path / 'noisy.json'), data_prefix=dict(img='x'),
             metainfo=dict(classes=CLASSES), screened=done['list'], pipeline=[])
    )  # fmt: skip
    assert {info['img_id'] for info in dataset}.isdisjoint(kinds)
    assert len(dataset) == 12
    assert check_coco(tmp_path / 'noisy.json', CLASSES) == []
    noted = json.loads((tmp_path / 'noisy.json').read_text())['info']['label_noise']
    assert (noted['share'], noted['seed'], noted['kinds']) == (0.5, 0, ['label', 'box', 'missing'])


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'kinds': ['lable']}, "'lable' is none of label, box, missing"),
        ({'kinds': []}, 'kinds not empty'),
        ({'share': 1.2}, r'share must be from 0 to 1.*got 1\.2'),
        ({'share': float('nan')}, 'share must be'),
        ({'seed': -1}, 'seed from 0 on'),
    ],
)
def test_bad_options(source, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        plant_label_noise(source, tmp_path / 'noisy.json', **options)
    assert not (tmp_path / 'noisy.json').exists()


def test_the_file_that_is_read_is_never_written(source):
    with pytest.raises(ValueError, match='is the file that is read'):
        plant_label_noise(source, source)


def test_other_files_are_refused(source, tmp_path):
    with pytest.raises(ValueError, match='does not exist'):
        plant_label_noise(tmp_path / 'gone.json', tmp_path / 'noisy.json')
    (tmp_path / 'no.json').write_text('{"images": []}')
    with pytest.raises(ValueError, match="is not a COCO file: it lacks the lists 'categories', 'annotations'"):
        plant_label_noise(tmp_path / 'no.json', tmp_path / 'noisy.json')
    coco = json.loads(source.read_text())
    of_one = [item for item in coco['annotations'] if item['category_id'] == 1]
    one = {**coco, 'categories': coco['categories'][:1], 'annotations': of_one}
    (tmp_path / 'one.json').write_text(json.dumps(one))
    with pytest.raises(ValueError, match='has one class'):
        plant_label_noise(tmp_path / 'one.json', tmp_path / 'noisy.json')


def test_a_file_with_faults_of_its_own_is_refused(source, tmp_path):
    coco = json.loads(source.read_text())
    del coco['annotations'][3]['bbox']
    source.write_text(json.dumps(coco))
    with pytest.raises(ValueError, match=r"train\.json: 1 of 61 entries of `annotations` lack keys.*'bbox'"):
        plant_label_noise(source, tmp_path / 'noisy.json')
