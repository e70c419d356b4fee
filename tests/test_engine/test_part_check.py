"""Parts in a config: part file against images, and transforms that parts cannot follow."""

import json

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmdet_ext.engine.config_check import check_config
from mmdet_ext.engine.dataset_spec import dataset_specs
from mmdet_ext.engine.part_check import check_parts

LEFT, RIGHT = 'left lung', 'right lung'
RESIZE = {'type': 'Resize', 'scale': (64, 64)}
FLIP = {'type': 'RandomFlip', 'prob': 0.5}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        images = [{'id': i, 'file_name': f'{split}{i}.png', 'width': 40, 'height': 30} for i in (1, 2)]
        boxes = [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 5], 'area': 50, 'iscrowd': 0}]
        data = {'images': images, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'a'}]}
        (tmp_path / f'{split}.json').write_text(json.dumps(data))
        for image in images:
            Image.new('RGB', (40, 30)).save(tmp_path / image['file_name'])
        parts = {image['file_name']: {LEFT: [20, 1, 10, 20], RIGHT: [2, 1, 10, 20]} for image in images}
        (tmp_path / f'parts_{split}.json').write_text(json.dumps(parts))
    return tmp_path


def config(root, *transforms, pack=None, load=None):
    """A data set whose training pipeline has these transforms."""

    def loader(split, extra):
        loads = {'type': 'LoadParts', 'part_file': str(root / f'parts_{split}.json'), 'part_names': (LEFT, RIGHT)}
        ends = [{'type': 'LoadAnnotations', 'with_bbox': True}, pack or {'type': 'PackPartInputs'}]
        dataset = {
            'type': 'CocoDataset',
            'data_root': str(root),
            'ann_file': f'{split}.json',
            'data_prefix': {'img': ''},
            'metainfo': {'classes': ('a',)},
            'pipeline': [{'type': 'LoadImageFromFile'}, loads | (load or {}), RESIZE, *extra, *ends],
        }
        return {'batch_size': 1, 'num_workers': 0, 'dataset': dataset}

    return Config({'train_dataloader': loader('train', transforms), 'val_dataloader': loader('val', [])})


def sentences(cfg, severity='error'):
    problems = check_config(cfg)
    assert {p.severity for p in problems} <= {severity}, [str(p) for p in problems]
    return [str(p) for p in problems]


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    'transform',
    [
        FLIP,
        {'type': 'RandomCrop', 'crop_size': (20, 20)},
        {'type': 'mmdet.Rotate'},
        {'type': 'FixShapeResize', 'width': 20, 'height': 20},
        {'type': 'RandomChoiceResize', 'scales': [(20, 20)]},
        {'type': 'CopyPaste'},
        {'type': 'Pad', 'size_divisor': 32},
        {'type': 'PhotoMetricDistortion'},
        {'type': 'RandAugment'},
        {'type': 'LandmarkAlbu', 'transforms': [{'type': 'HorizontalFlip'}]},
        {'type': 'TestTimeAug', 'transforms': [[FLIP], [{'type': 'PackPartInputs'}]]},
    ],
)
def test_good_config(root, transform):
    assert check_config(config(root, transform)) == []


def test_without_parts_nothing_is_said(root):
    cfg = config(root, {'type': 'Expand'}, pack={'type': 'PackDetInputs'})
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        del loader.dataset.pipeline[1]
    assert check_config(cfg) == []


MOVING = [
    ({'type': 'Expand'}, 'mmdet.Expand moves'),
    ({'type': 'MinIoURandomCrop'}, 'mmdet.MinIoURandomCrop moves'),
    ({'type': 'RandomCenterCropPad'}, 'mmdet.RandomCenterCropPad moves'),
    ({'type': 'RandomShift'}, 'mmdet.RandomShift moves'),
    ({'type': 'RandomAffine'}, 'mmdet.RandomAffine moves'),
    ({'type': 'Albu', 'transforms': [{'type': 'Blur'}]}, 'mmdet.Albu moves'),
    ({'type': 'Mosaic'}, 'mmdet.Mosaic puts several images into one'),
    ({'type': 'CachedMosaic'}, 'mmdet.CachedMosaic puts'),
    ({'type': 'MixUp'}, 'mmdet.MixUp puts'),
    ({'type': 'CachedMixUp'}, 'mmdet.CachedMixUp puts'),
    ({'type': 'CenterCrop', 'crop_size': 9}, 'mmcv.CenterCrop moves'),
    ({'type': 'mmengine.Resize', 'scale': (9, 9)}, 'mmcv.Resize moves'),
    ({'type': 'mmengine.RandomFlip'}, 'mmcv.RandomFlip moves'),
    ({'type': 'RandomResize', 'scale': (9, 9), 'resize_type': 'mmengine.Resize'}, 'mmcv.Resize moves'),
]


@pytest.mark.parametrize(('transform', 'words'), MOVING)
def test_transforms_that_parts_cannot_follow(root, transform, words):
    (sentence,) = sentences(config(root, transform))
    assert sentence.startswith(f'train_dataloader.dataset.pipeline: loads parts, but {words}')
    assert "use mmdet's Resize, RandomFlip" in sentence


@pytest.mark.parametrize(
    'wrapper',
    [
        {'type': 'RandomApply', 'transforms': [{'type': 'Expand'}]},
        {'type': 'RandomChoice', 'transforms': [[FLIP], [FLIP, {'type': 'Expand'}]]},
        {'type': 'RandomOrder', 'transforms': [{'type': 'Expand'}]},
        {'type': 'AutoAugment', 'policies': [[FLIP], [{'type': 'Expand'}]]},
        {'type': 'RandAugment', 'aug_space': [[FLIP], [{'type': 'Expand'}]]},
        {'type': 'TestTimeAug', 'transforms': [[FLIP, {'type': 'Expand'}], [{'type': 'PackPartInputs'}]]},
        {'type': 'TransformBroadcaster', 'transforms': [{'type': 'Expand'}]},
    ],
)
def test_nested_transforms(root, wrapper):
    (sentence,) = sentences(config(root, wrapper))
    assert 'mmdet.Expand moves' in sentence


def test_a_pipeline_around_the_data_set(root):
    cfg = config(root)
    inner = cfg.train_dataloader.dataset
    mixed = {'type': 'MultiImageMixDataset', 'dataset': inner, 'pipeline': [{'type': 'Mosaic'}, inner.pipeline[-1]]}
    inner.pipeline = inner.pipeline[:-1]
    cfg.train_dataloader.dataset = mixed
    (sentence,) = sentences(cfg)
    assert 'mmdet.Mosaic puts' in sentence


def test_padding_behind_a_crop(root):
    crop, pad = {'type': 'RandomCrop', 'crop_size': (20, 20)}, {'type': 'Pad', 'size': (20, 20)}
    assert check_config(config(root, crop, pad)) == []
    assert check_config(config(root, pad | {'size': (80, 80)}, crop)) == []
    (sentence,) = sentences(config(root, crop, {'type': 'Pad', 'size_divisor': 32}), 'warning')
    assert 'Pad behind RandomCrop' in sentence


def test_loading_and_packing_belong_together(root):
    first, second = sentences(config(root, pack={'type': 'PackDetInputs'}))
    assert first == (
        'train_dataloader.dataset.pipeline: loads parts, but PackDetInputs leaves them out; take PackPartInputs instead'
    )
    assert second.startswith('val_')
    cfg = config(root)
    del cfg.val_dataloader.dataset.pipeline[1]
    (sentence,) = sentences(cfg)
    assert 'val_dataloader.dataset.pipeline: has PackPartInputs, but loads no parts; put LoadParts' in sentence


def test_names_in_the_config(root):
    assert 'more than once' in sentences(config(root, load={'part_names': (LEFT, LEFT)}))[0]
    pack = {'type': 'PackPartInputs', 'swap_pairs': [(LEFT, 'right')]}
    assert "names the part 'right' (nearest: 'right lung')" in sentences(config(root, pack=pack))[0]


def test_problems_of_the_file_name_the_file(root):
    cfg = config(root)
    edit(root / 'parts_train.json', lambda d: d.pop('train2.png'))
    edit(root / 'parts_val.json', lambda d: d['val1.png'].update({LEFT: [35, 0, 7, 5]}))
    first, second = sentences(cfg)
    assert first.startswith(f"{root}/parts_train.json: 1 of 2 images have no entry: '{root}/train2.png'")
    assert second.startswith(f'{root}/parts_val.json: 1 of 4 boxes reach more than a pixel beyond their image')
    for pipeline in (cfg.train_dataloader.dataset.pipeline, cfg.val_dataloader.dataset.pipeline):
        pipeline[1].missing = 'invalid'
    assert sentences(cfg) == [second]
    (root / 'parts_val.json').unlink()
    assert 'parts_val.json: does not exist' in sentences(cfg)[0]


def test_no_part_file(root):
    assert check_config(config(root, load={'part_file': None})) == []


def test_sizes_and_images_that_are_not_known(root):
    cfg = config(root)
    edit(root / 'parts_train.json', lambda d: d['train1.png'].update({LEFT: [35, 0, 7, 5]}))
    cfg.train_dataloader.dataset.type = 'LVISV1Dataset'
    assert check_config(cfg) == []
    cfg.train_dataloader.dataset.type = 'CocoDataset'
    edit(root / 'train.json', lambda d: (d['images'][0].pop('width'), d['images'].append(3)))
    assert not [s for s in map(str, check_config(cfg)) if 'parts_train' in s]
    (root / 'train.json').write_text('{}')
    assert not [s for s in map(str, check_config(cfg)) if 'parts_train' in s]


def test_built_data_sets(root):
    cfg = config(root, {'type': 'RandomResize', 'scale': (9, 9), 'resize_type': 'mmengine.Resize'}, {'type': 'Expand'})
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    edit(root / 'parts_train.json', lambda d: d.pop('train2.png'))
    (spec,) = dataset_specs(dataset, 'train_dataloader.dataset', 'train')
    words = ['mmcv.Resize moves', 'mmdet.Expand moves', '1 of 2 images have no entry']
    assert all(word in str(problem) for word, problem in zip(words, check_parts(spec), strict=True))


def test_resizing_a_batch(root):
    cfg = config(root)
    augments = [{'type': 'BatchFixedSizePad', 'size': (64, 64)}]
    cfg.model = {'data_preprocessor': {'type': 'DetDataPreprocessor', 'batch_augments': augments}}
    assert check_config(cfg) == []
    augments.append({'type': 'BatchSyncRandomResize', 'random_size_range': (480, 800)})
    cfg.model.data_preprocessor.batch_augments = augments
    (sentence,) = sentences(cfg)
    assert sentence.startswith('model.data_preprocessor.batch_augments: BatchSyncRandomResize resizes images')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.pipeline[1:2] = []
        loader.dataset.pipeline[-1].type = 'PackDetInputs'
    assert check_config(cfg) == []
