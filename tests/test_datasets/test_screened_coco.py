"""ScreenedCocoDataset: images of a list are left out, and nothing else changes."""

import json

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.ablation.identity import data_identity
from mmdet_ext.datasets.screened_list import listed_image, write_screened_list
from mmdet_ext.engine.cfg_options import check_cfg_options
from mmdet_ext.engine.dataset_spec import dataset_specs
from tests.tiny_coco import make_tiny_coco


@pytest.fixture
def build(tmp_path):
    """The tiny data set without the images of these ids."""
    init_default_scope('mmdet')
    paths = make_tiny_coco(tmp_path / 'data', n=5)
    images = {image['id']: image for image in json.loads((tmp_path / 'data/ann.json').read_text())['images']}

    def call(*left_out, name='ScreenedCocoDataset', entries=None, **options):
        entries = [listed_image(images[key], ['loss: high']) for key in left_out] if entries is None else entries
        if name == 'ScreenedCocoDataset' and 'screened' not in options:
            options['screened'] = str(write_screened_list(tmp_path / 'screened.json', entries))
        meta = dict(classes=options.pop('classes', ('a', 'b')))
        common = dict(ann_file=paths['ann'], data_prefix=dict(img=paths['images']), metainfo=meta, pipeline=[])
        return DATASETS.build(dict(type=name, **common, **options))

    return call


def test_the_images_of_the_list_are_left_out(build):
    everything = [*build(name='CocoDataset')]
    left = build(1, 4)
    assert [info['img_id'] for info in left] == [0, 2, 3]
    for place, info in enumerate(left):
        same = dict(everything[info['img_id']], sample_idx=place)
        assert info == same


@pytest.mark.parametrize('options', [{'screened': None}, {}])
def test_without_a_list_or_with_an_empty_one_it_is_mmdets(build, options):
    assert [*build(**options)] == [*build(name='CocoDataset')]


def test_a_filter_and_indices_come_after_it(build):
    assert [info['img_id'] for info in build(0, indices=2)] == [1, 2]
    # Images 0, 2 and 4 have an object of class a.
    filtered = build(0, filter_cfg=dict(filter_empty_gt=True), classes=('a',))
    assert [info['img_id'] for info in filtered] == [2, 4]


def test_an_evaluation_is_not_screened(build):
    with pytest.raises(ValueError, match='a detector is measured on all images'):
        build(1, test_mode=True)
    assert len(build(screened=None, test_mode=True)) == 5


@pytest.mark.parametrize('entry', [{'image_id': 9, 'file_name': '9.png'}, {'image_id': 1, 'file_name': 'other.png'}])
def test_a_list_of_other_data_is_refused(build, entry):
    with pytest.raises(
        ValueError, match=rf'1 of its 1 images have another id or name there \(image ids {entry["image_id"]}\)'
    ):
        build(entries=[entry])


def test_a_list_that_is_missing_names_the_tool(build, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'screen_images\.py'):
        build(screened=str(tmp_path / 'gone.json'))


def test_checks_and_options_know_it(build, tmp_path):
    dataset = build(1)
    assert dataset_specs(dataset, 'x', 'train')[0].style == 'coco'
    node = dict(type='ScreenedCocoDataset', ann_file=dataset.ann_file, data_prefix=dict(dataset.data_prefix))
    cfg = Config(dict(default_scope='mmdet', train_dataloader=dict(dataset=node)))
    assert check_cfg_options(cfg, {'train_dataloader.dataset.screened': 'a.json'}) == []
    assert 'screend' in check_cfg_options(cfg, {'train_dataloader.dataset.screend': 'a.json'})[0]
    # What ablate.py compares: with or without a list, the data are the same.
    other = Config(dict(train_dataloader=dict(dataset=dict(node, screened='a.json'))))
    assert data_identity(cfg) == data_identity(other) != {}
