"""What is read from data set configs, and the checks of one data set."""

import mmdet.utils
import pytest
from mmdet.datasets import CocoDataset, VOCDataset
from mmdet.datasets.transforms import LoadAnnotations

from mmdet_ext.engine.dataset_spec import (
    check_dataset,
    check_eval_pipeline,
    check_exists,
    check_mask_pipeline,
    dataset_specs,
    transform_name,
    walk_pipeline,
)

COCO = {'type': 'CocoDataset', 'data_root': 'root', 'ann_file': 'a.json', 'data_prefix': {'img': 'pictures'}}


@pytest.fixture(autouse=True)
def _modules():
    mmdet.utils.register_all_modules(init_default_scope=True)


def spec_of(split='val', **options):
    (spec,) = dataset_specs({**COCO, **options}, 'd', split)
    return spec


def test_paths_are_joined_with_the_root():
    spec = spec_of(metainfo={'classes': ('a',)})
    assert (spec.ann_file, spec.data_prefix) == ('root/a.json', {'img': 'root/pictures'})
    assert (spec.cls, spec.style, spec.classes, spec.has_metainfo) == (CocoDataset, 'coco', ('a',), True)
    assert spec_of(ann_file='/abs/a.json').ann_file == '/abs/a.json'
    assert spec_of(data_root=None).ann_file == 'a.json'
    assert spec_of(ann_file='').ann_file == ''


def test_class_names_of_the_class():
    spec = spec_of()
    assert (len(spec.classes), spec.has_metainfo) == (80, False)


@pytest.mark.parametrize(
    ('name', 'style'), [('VOCDataset', 'voc'), ('LVISV1Dataset', 'other'), ('DeepFashionDataset', 'coco')]
)
def test_styles(name, style):
    assert spec_of(type=name).style == style


def test_wrappers_are_looked_through():
    node = {'type': 'RepeatDataset', 'dataset': {'type': 'ConcatDataset', 'datasets': [COCO, COCO]}}
    assert [spec.where for spec in dataset_specs(node, 'd', 'train')] == [
        'd.dataset.datasets[0]',
        'd.dataset.datasets[1]',
    ]


@pytest.mark.parametrize('type_', ['NoSuchDataset', dict])
def test_other_types_give_nothing(type_):
    assert dataset_specs({'type': type_}, 'd', 'train') == []


def test_built_data_set_tells_the_same(tmp_path):
    options = {'data_root': str(tmp_path), 'ann_file': 'a.txt', 'metainfo': {'classes': ('a',)}}
    config = {'data_prefix': {'sub_data_root': 'VOC2007'}, 'ann_subdir': 'xml', **options}
    built = VOCDataset(lazy_init=True, **config)
    (ours,) = dataset_specs(built, 'd', 'train')
    (theirs,) = dataset_specs({'type': 'VOCDataset', **config}, 'd', 'train')
    for name in ('cls', 'ann_file', 'data_prefix', 'classes', 'has_metainfo', 'subdirs', 'style'):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.subdirs == ('xml', 'JPEGImages')


def test_nested_transforms_are_walked():
    pipeline = [{'type': 'A'}, {'type': 'TestTimeAug', 'transforms': [[{'type': 'mmdet.B'}], [LoadAnnotations()]]}]
    assert [transform_name(node) for node in walk_pipeline(pipeline)] == ['A', 'TestTimeAug', 'B', 'LoadAnnotations']
    assert list(walk_pipeline(None)) == []


def test_a_data_set_without_files_or_far_away():
    assert check_dataset(spec_of(ann_file='')) == []
    (problem,) = check_dataset(spec_of(data_root='s3://bucket'))
    assert (problem.severity, problem.where) == ('warning', 'd')
    assert "'s3://bucket/a.json' is no local path" in problem.message


def test_image_folder_has_to_be_named():
    (problem,) = check_dataset(spec_of(data_prefix={}))
    assert problem.severity == 'error'
    assert 'lacks `data_prefix=dict(img=...)`' in problem.message


def test_exists(tmp_path):
    assert check_exists(str(tmp_path), 'w') == []
    assert check_exists('s3://a', 'w') == []
    (problem,) = check_exists(str(tmp_path / 'a'), 'w')
    assert (problem.severity, problem.where) == ('error', 'w')


@pytest.mark.parametrize(
    ('pipeline', 'severity'),
    [
        ([], None),
        ([{'type': 'Resize'}, {'type': 'PackDetInputs'}], None),
        ([{'type': 'RandomCenterCropPad'}], None),
        ([{'type': 'LoadImageFromFile'}], 'error'),
        ([{'type': 'MyOwn'}], 'warning'),
        ([{'type': 'Resize'}, {'type': 'PackDetInputs', 'meta_keys': ('img_id',)}], 'error'),
        ([{'type': 'Resize'}, {'type': 'PackDetInputs', 'meta_keys': ('scale_factor',)}], None),
        ([{'type': 'LandmarkResize'}, {'type': 'PackLandmarkInputs', 'meta_keys': ('img_id',)}], 'error'),
    ],
)
def test_evaluation_pipeline(pipeline, severity):
    problems = check_eval_pipeline(spec_of(pipeline=pipeline))
    assert [problem.severity for problem in problems] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ('split', 'pipeline', 'fits'),
    [
        ('train', [{'type': 'LoadAnnotations', 'with_bbox': True}], False),
        ('train', [{'type': 'mmdet.LoadAnnotations', 'with_mask': False}], False),
        ('train', [{'type': LoadAnnotations}], False),
        ('train', [LoadAnnotations(with_mask=False)], False),
        ('train', [{'type': 'LoadAnnotations', 'with_mask': True}], True),
        ('train', [LoadAnnotations(with_mask=True)], True),
        ('train', [{'type': 'LoadPanopticAnnotations'}], True),
        ('train', [], True),
        ('val', [{'type': 'LoadAnnotations', 'with_bbox': True}], True),
    ],
)
def test_mask_pipeline(split, pipeline, fits):
    problems = check_mask_pipeline(spec_of(split, pipeline=pipeline), 'model.mask_head')
    assert [(p.severity, p.where) for p in problems] == ([] if fits else [('error', 'd.pipeline')])
    assert all('`model.mask_head`' in p.message for p in problems)


def test_data_that_are_not_there_tell_where_they_are_got_from(tmp_path):
    spec = spec_of(metainfo={'classes': ('a',), 'source': ['make it,', 'then wait']})
    (problem,) = check_dataset(spec)
    assert problem.message == "the annotation file 'root/a.json' does not exist; to get the data: make it, then wait"
    file = tmp_path / 'a.json'
    file.write_text('[]')
    problems = check_dataset(spec_of(ann_file=str(file), metainfo={'classes': ('a',), 'source': ['make it']}))
    assert problems
    assert not any('make it' in problem.message for problem in problems)
