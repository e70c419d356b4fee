"""Pipelines of the diagnosis: what is taken from where, and sizes that are scaled."""

import pytest

from mmdet_ext.analysis.diagnosis.split_pipelines import make_pipelines, scale_sizes

IMAGE, LABELS, PACK = (
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
)
MASKS = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
RESIZE = dict(type='Resize', scale=(100, 80), keep_ratio=True)
PAD = dict(type='Pad', size_divisor=32)
FLIP = dict(type='RandomFlip', prob=0.5)
METAS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def names(nodes):
    return [node['type'] for node in nodes]


def test_training_data_get_the_size_of_the_test_and_nothing_random():
    own = [IMAGE, MASKS, dict(type='Resize', scale=(10, 10)), FLIP, PACK]
    loads, fits = make_pipelines(own, own, [IMAGE, RESIZE, PAD, LABELS, dict(PACK, meta_keys=('img_id', 'x'))], 'w')
    assert loads == [IMAGE, MASKS]
    assert fits == [RESIZE, PAD, dict(PACK, meta_keys=(*METAS, 'x'))]


def test_test_data_get_the_annotations_of_training_before_the_resize():
    own = [dict(IMAGE, backend='x'), RESIZE, LABELS, dict(type='LoadParts', part_file='val.json'), PACK]
    train = [IMAGE, MASKS, dict(type='LoadParts', part_file='train.json'), FLIP, dict(type='PackPartInputs')]
    loads, fits = make_pipelines(own, train, own, 'w')
    assert loads == [own[0], MASKS, own[3]]
    assert fits == [RESIZE, dict(type='PackPartInputs', meta_keys=METAS)]


@pytest.mark.parametrize('empty', [[], [dict(type='LoadEmptyAnnotations')]])
def test_annotations_where_no_pipeline_loads_them(empty):
    own = [IMAGE, *empty, RESIZE, PACK]
    assert make_pipelines(own, own, own, 'w')[0] == [IMAGE, LABELS]


def test_own_annotations_where_training_has_none():
    assert make_pipelines([IMAGE, RESIZE, MASKS, PACK], [], [RESIZE, PACK], 'w')[0] == [IMAGE, MASKS]


def test_landmarks_are_resized_too():
    own = [IMAGE, dict(type='LoadLandmarkAnnotations', num_landmarks=5), dict(type='PackLandmarkInputs')]
    loads, fits = make_pipelines(own, own, [IMAGE, RESIZE, LABELS, PACK], 'w')
    assert names(loads) == ['LoadImageFromFile', 'LoadLandmarkAnnotations']
    assert fits[0] == dict(RESIZE, type='LandmarkResize')
    assert fits[1]['type'] == 'PackLandmarkInputs'


def test_what_cannot_be_used():
    with pytest.raises(ValueError, match=r'val_dataloader.dataset: test images are padded by RandomCenterCropPad'):
        make_pipelines([IMAGE, PACK], [], [IMAGE, dict(type='RandomCenterCropPad'), PACK], 'val_dataloader.dataset')
    with pytest.raises(ValueError, match='where: the pipeline has no PackDetInputs, with which every pipeline ends'):
        make_pipelines([IMAGE], [IMAGE], [IMAGE, RESIZE], 'where')


def test_sizes_times_a_factor():
    nodes = [
        dict(type='mmdet.Resize', scale=(100, 81), keep_ratio=True),
        dict(type='Resize', scale_factor=0.5),
        dict(type='RandomChoiceResize', scales=[(10, 20), (30, 40)]),
        dict(type='RandomChoice', transforms=[[dict(type='FixScaleResize', scale=1)], [PAD]]),
        dict(type='Pad', size=(64, 32)),
        dict(type='Crop', size=(64, 32)),
        dict(type='Pad', size=None, size_divisor=32),
    ]
    kept = [dict(node) for node in nodes]
    half = scale_sizes(nodes, 0.5)
    assert nodes == kept
    assert [half[0]['scale'], half[1]['scale_factor'], half[2]['scales']] == [(50, 40), 0.25, [(5, 10), (15, 20)]]
    assert half[3]['transforms'] == [[dict(type='FixScaleResize', scale=1)], [PAD]]
    assert [half[4]['size'], half[5]['size'], half[6]] == [(32, 16), (64, 32), nodes[6]]
    assert scale_sizes(nodes, 2.0)[3]['transforms'][0][0]['scale'] == 2
    assert scale_sizes(nodes, 1.0) == nodes
