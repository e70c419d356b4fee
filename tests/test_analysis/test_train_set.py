"""Training sets of configs: what is read, resized and left out."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.train_set import Resizer, keep_resizes, loader_transforms, open_train_sets, seeded
from tests.tiny_coco import make_tiny_coco, tiny_config

RANDOM = dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True)


@pytest.fixture
def tiny(tmp_path):
    """Text of the tiny config, and its paths."""
    paths = make_tiny_coco(tmp_path / 'data', n=4)
    return tiny_config(paths), paths


def read(text):
    return open_train_sets(Config.fromstring(text, '.py'))


def test_a_plain_set(tiny):
    (found,) = read(tiny[0])
    assert len(found.dataset) == 4
    assert [node['type'] for node in found.loads] == ['LoadImageFromFile']
    assert [node['type'] for node in found.resizes] == ['Resize']
    assert found.left_out == ['RandomCrop']
    assert found.dropped == dict.fromkeys(range(4), (0, 0))
    # Workers of a loader may be started afresh.
    assert len(pickle.loads(pickle.dumps(found.dataset))) == 4


def test_what_the_data_set_drops_is_counted(tiny):
    text, paths = tiny
    content = json.loads(Path(paths['ann']).read_text())
    flat = dict(image_id=1, category_id=1, area=0, iscrowd=0)
    content['annotations'] += [
        {**flat, 'id': 11, 'bbox': [5, 5, 0, 9]},
        {**flat, 'id': 12, 'bbox': [500, 5, 9, 9], 'area': 81},
        {**flat, 'id': 13, 'bbox': [5, 5, 9, 9], 'area': 81, 'ignore': True},
        {**flat, 'id': 14, 'bbox': [5, 5, 0, 9], 'category_id': 99},
    ]
    content['categories'].append({'id': 99, 'name': 'another'})
    Path(paths['ann']).write_text(json.dumps(content))
    (found,) = read(text)
    assert found.dropped[1] == (1, 2)
    assert found.dropped[0] == (0, 0)


def test_wrappers_and_their_pipelines(tiny):
    text = (
        tiny[0]
        + """
inner = dict(train_dataloader['dataset'], pipeline=train_pipeline[:2])
train_dataloader['dataset'] = dict(
    type='MultiImageMixDataset', dataset=dict(type='ConcatDataset', datasets=[inner, inner]),
    pipeline=[dict(type='Mosaic', img_scale=(64, 64)), dict(type='Resize', scale=(32, 32)), dict(type='PackDetInputs')])
"""
    )
    found = read(text)
    assert [train_set.spec.where for train_set in found] == [
        f'train_dataloader.dataset.dataset.datasets[{index}]' for index in (0, 1)
    ]
    for train_set in found:
        assert [node['type'] for node in train_set.resizes] == ['Resize']
        assert train_set.left_out == ['Mosaic']
    cfg = Config.fromstring(text, '.py')
    assert [node['type'] for node in loader_transforms(cfg, 'train')][:3] == [
        'LoadImageFromFile', 'LoadAnnotations', 'Mosaic',
    ]  # fmt: skip
    assert loader_transforms(Config({}), 'train') == []


def test_choices_keep_their_resizes_alone():
    crop = dict(type='RandomCrop', crop_size=(3, 3))
    choice = dict(type='RandomChoice', transforms=[[dict(type='Resize', scale=(8, 8))], [crop, RANDOM]])
    apply = dict(type='RandomApply', transforms=[crop])
    assert keep_resizes([crop, choice, apply]) == [
        dict(type='RandomChoice', transforms=[[dict(type='Resize', scale=(8, 8))], [RANDOM]])
    ]


@pytest.mark.parametrize(
    ('resizes', 'size'),
    [
        ([], (100, 50)),
        ([dict(type='Resize', scale=(40, 60), keep_ratio=False)], (40, 60)),
        ([dict(type='Resize', scale=(40, 400), keep_ratio=True)], (80, 40)),
        ([dict(type='Resize', scale_factor=0.5)], (50, 25)),
        # It pads to the whole shape, which is no resizing.
        ([dict(type='FixShapeResize', width=60, height=60, keep_ratio=True)], (60, 30)),
        ([dict(type='Resize', scale=(40, 60)), dict(type='Resize', scale_factor=2.0)], (80, 120)),
    ],
)
def test_sizes(resizes, size):
    init_default_scope('mmdet')
    resizer = Resizer(resizes)
    for _ in range(2):
        assert resizer(100, 50) == pytest.approx(size)


def test_random_sizes_differ_and_seeds_repeat_them():
    init_default_scope('mmdet')
    resizer = Resizer([RANDOM])
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with seeded(3):
        first = [resizer(100, 50) for _ in range(5)]
    with seeded(3):
        assert [resizer(100, 50) for _ in range(5)] == first
    assert len(set(first)) > 1
    assert all(w == pytest.approx(2 * h, rel=0.05) for w, h in first)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_configs_without_data(tiny):
    text, paths = tiny
    for change in ('train_dataloader = None', "train_dataloader['dataset'] = dict(type='Strange')"):
        with pytest.raises(ValueError, match='has no training set that can be read'):
            read(f'{text}\n{change}\n')
    Path(paths['ann']).unlink()
    with pytest.raises(
        FileNotFoundError, match=r'train_dataloader.dataset: there is no annotation file .*ann.json; co'
    ):
        read(text)
    source = text.replace('metainfo = dict(', "metainfo = dict(source=['Ask the owner.'], ")
    with pytest.raises(FileNotFoundError, match=r'ann.json; Ask the owner.'):
        read(source)
