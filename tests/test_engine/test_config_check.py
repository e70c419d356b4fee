import json

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmdet_ext.datasets.problems import Problem
from mmdet_ext.engine.config_check import check_config, raise_on_problems

PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Resize', 'scale': (64, 64)},
    {'type': 'LoadAnnotations', 'with_bbox': True, 'with_mask': True},
    {'type': 'PackDetInputs'},
]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.fixture
def root(tmp_path):
    for split in ('train', 'val'):
        images = [{'id': 1, 'file_name': f'{split}.png', 'width': 40, 'height': 30}]
        boxes = [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 5], 'area': 50, 'iscrowd': 0}]
        data = {'images': images, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]}
        (tmp_path / f'{split}.json').write_text(json.dumps(data))
        Image.new('RGB', (40, 30)).save(tmp_path / f'{split}.png')
    return tmp_path


def config(root):
    def loader(split):
        dataset = {
            'type': 'CocoDataset',
            'data_root': str(root),
            'ann_file': f'{split}.json',
            'data_prefix': {'img': ''},
            'metainfo': {'classes': ('a', 'b')},
            'pipeline': PIPELINE,
        }
        return {'batch_size': 1, 'num_workers': 0, 'dataset': dataset}

    heads = [{'type': 'Shared2FCBBoxHead', 'num_classes': 2}, {'type': 'Shared2FCBBoxHead', 'num_classes': 2}]
    model = {
        'type': 'CascadeRCNN',
        'rpn_head': {'type': 'RPNHead', 'num_classes': 1},
        'roi_head': {'bbox_head': heads, 'mask_head': {'type': 'FCNMaskHead', 'num_classes': 2}},
    }
    return Config(
        {
            'model': model,
            'train_dataloader': loader('train'),
            'val_dataloader': loader('val'),
            'test_dataloader': loader('val'),
            'val_evaluator': {'type': 'CocoMetric', 'ann_file': str(root / 'val.json')},
            'test_evaluator': [{'type': 'CocoMetric', 'ann_file': str(root / 'val.json')}],
        }
    )


def sentences(cfg, severity='error', **kwargs):
    problems = check_config(cfg, **kwargs)
    assert {p.severity for p in problems} <= {severity}, [str(p) for p in problems]
    return [str(p) for p in problems]


def wrap(cfg, outer):
    cfg.train_dataloader.dataset = outer
    return cfg


def test_good_config_is_left_alone(root):
    cfg = config(root)
    before = cfg.pretty_text
    assert check_config(cfg) == []
    assert cfg.pretty_text == before
    assert check_config(Config({})) == []


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset'])
def test_wrapped_dataset_is_found(root, wrapper):
    cfg = config(root)
    inner = cfg.train_dataloader.dataset
    inner.ann_file = 'trian.json'
    (sentence,) = sentences(wrap(cfg, {'type': wrapper, 'dataset': inner}))
    assert f'{root}/trian.json: does not exist' in sentence


def test_concatenated_datasets_are_found(root):
    cfg = config(root)
    inner = cfg.train_dataloader.dataset
    bad = {**inner, 'data_prefix': {'img': 'nowhere'}}
    (sentence,) = sentences(wrap(cfg, {'type': 'ConcatDataset', 'datasets': [inner, bad]}))
    assert 'nowhere' in sentence


def test_default_classes_are_named_as_such(root):
    cfg = config(root)
    del cfg.val_dataloader.dataset['metainfo']
    problems = [str(p) for p in check_config(cfg, splits=('val',))]
    assert 'default class names of CocoDataset (`val_dataloader.dataset` has no `metainfo`)' in problems[0]
    problems = [str(p) for p in check_config(cfg) if p.where == 'val_dataloader.dataset']
    assert len(problems) == 1
    assert "differ from those of train_dataloader.dataset ('a', 'b')" in problems[0]


@pytest.mark.parametrize(
    ('classes', 'words'),
    [('a', '`classes=('), (['a', 'a'], 'more than once'), ([], 'non-empty'), ([1], 'non-empty')],
)
def test_class_list_itself(root, classes, words):
    cfg = config(root)
    cfg.train_dataloader.dataset.metainfo.classes = classes
    (sentence,) = sentences(cfg)
    assert 'train_dataloader.dataset.metainfo.classes' in sentence
    assert words in sentence


@pytest.mark.parametrize('key', ['bbox_head[1]', 'mask_head'])
@pytest.mark.parametrize('number', [80, None])
def test_num_classes_of_any_head(root, key, number):
    cfg = config(root)
    head = cfg.model.roi_head.bbox_head[1] if 'bbox' in key else cfg.model.roi_head.mask_head
    del head['num_classes']
    if number:
        head.num_classes = number
    (sentence,) = sentences(cfg)
    assert f'model.roi_head.{key}.num_classes: `num_classes` is 80, but' in sentence
    assert 'set `num_classes=2`' in sentence


def test_heads_that_count_something_else(root):
    cfg = config(root)
    cfg.model.roi_head.semantic_head = {'type': 'FusedSemanticHead', 'num_classes': 183}
    cfg.model.roi_head.custom_head = {'type': 'StandardRoIHead'}
    assert check_config(cfg) == []
    cfg.model.language_model = {}
    cfg.model.roi_head.mask_head.num_classes = 256
    assert check_config(cfg) == []


def test_panoptic_heads_may_count_things(root):
    cfg = config(root)
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.metainfo.thing_classes = ('a', 'b', 'c')
    cfg.model.roi_head.mask_head.num_classes = 3
    assert check_config(cfg) == []


def test_missing_resize(root):
    cfg = config(root)
    del cfg.test_dataloader.dataset.pipeline[1]
    (sentence,) = sentences(cfg)
    assert 'test_dataloader.dataset.pipeline: has no `Resize`' in sentence
    cfg.test_dataloader.dataset.pipeline.insert(1, {'type': 'MyOwnScaling'})
    (sentence,) = sentences(cfg, 'warning')
    assert 'unless MyOwnScaling sets it' in sentence
    del cfg.train_dataloader.dataset.pipeline[1]
    assert len(check_config(cfg, splits=('train',))) == 0
    cfg.test_dataloader.dataset.pipeline = []
    assert check_config(cfg) == []


def test_resize_inside_test_time_augmentation(root):
    cfg = config(root)
    nested = {'type': 'TestTimeAug', 'transforms': [[{'type': 'Resize', 'scale': (64, 64)}], [PIPELINE[-1]]]}
    cfg.test_dataloader.dataset.pipeline = [PIPELINE[0], nested]
    assert check_config(cfg) == []


def test_mask_head_without_masks(root):
    cfg = config(root)
    del cfg.train_dataloader.dataset.pipeline[2]['with_mask']
    del cfg.val_dataloader.dataset.pipeline[2]['with_mask']
    (sentence,) = sentences(cfg)
    assert sentence == (
        'train_dataloader.dataset.pipeline: the model has a mask head (`model.roi_head.mask_head`), but '
        'LoadAnnotations has no `with_mask=True`; add it, or choose a detector without masks'
    )
    assert check_config(cfg, splits=('val', 'test')) == []
    (sentence,) = sentences(wrap(cfg, {'type': 'RepeatDataset', 'dataset': cfg.train_dataloader.dataset}))
    assert 'train_dataloader.dataset.dataset.pipeline' in sentence


def test_no_masks_needed(root):
    cfg = config(root)
    del cfg.train_dataloader.dataset.pipeline[2]['with_mask']
    boxes_only = Config({**cfg, 'model': {**cfg.model, 'type': 'BoxInst'}})
    assert check_config(boxes_only) == []
    without = config(root)
    without.train_dataloader = cfg.train_dataloader
    without.model.roi_head.mask_head = None
    assert check_config(without) == []
    del cfg.train_dataloader.dataset.pipeline[2]
    assert check_config(cfg) == []


def test_meta_keys_without_scale_factor(root):
    cfg = config(root)
    cfg.val_dataloader.dataset.pipeline[-1].meta_keys = ('img_id',)
    (sentence,) = sentences(cfg)
    assert "lacks 'scale_factor'" in sentence


def test_evaluator_file(root):
    cfg = config(root)
    cfg.val_evaluator.ann_file = str(root / 'absent.json')
    cfg.test_evaluator[0].ann_file = str(root / 'other.json')
    (root / 'other.json').write_text('{')
    first, second = sentences(cfg)
    assert 'val_evaluator.ann_file: the annotation file' in first
    assert 'other.json: ends in the middle' in second


def test_image_size_and_scope(root):
    Image.new('RGB', (20, 30)).save(root / 'train.png')
    cfg = config(root)
    assert 'annotated 40x30, file 20x30' in sentences(cfg)[0]
    assert check_config(cfg, 'none') == []
    cfg.train_dataloader.dataset.pipeline[0].type = 'LoadMultiChannelImageFromFiles'
    assert check_config(cfg) == []


def test_other_styles_of_dataset(root):
    cfg = config(root)
    dataset = cfg.train_dataloader.dataset
    dataset.data_prefix = {}
    assert 'lacks `data_prefix=dict(img=...)`' in sentences(cfg)[0]
    dataset.data_root = 's3://bucket'
    assert 'is no local path' in sentences(cfg, 'warning')[0]
    dataset.update(type='LVISV1Dataset', data_root=str(root), ann_file='lvis.json')
    assert "lvis.json' does not exist" in sentences(cfg)[0]
    dataset.update(type='VOCDataset', ann_file='train.txt', data_prefix={'sub_data_root': ''})
    assert 'train.txt: does not exist' in sentences(cfg)[0]
    dataset.ann_file = ''
    assert check_config(cfg) == []
    dataset.type = 'NotRegistered'
    assert check_config(cfg) == []


def test_raise_on_problems():
    errors = [Problem('error', f'file{i}', 'is bad') for i in range(12)]
    warning = Problem('warning', 'other', 'is odd')
    raise_on_problems([warning])
    raise_on_problems(errors, strict=False)
    with pytest.raises(ValueError, match='file9: is bad\n- and 2 more') as caught:
        raise_on_problems([warning, *errors])
    assert 'odd' not in str(caught.value)
    with pytest.raises(ValueError, match=r'- file0: is bad$'):
        raise_on_problems(errors[:1])
