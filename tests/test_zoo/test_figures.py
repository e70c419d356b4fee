"""Figures and circumstances in the words of a metafile."""

import pytest

from mmdet_ext.zoo.figures import NAMES, describe_training, format_results

RECORD = {
    'device': 'cpu', 'world_size': 2, 'threads': 1, 'step_seconds': 0.5, 'iterations': 600, 'peak_memory_mb': 734,
    'seed': 0, 'commit': 'abc', 'versions': {'mmdet': '3.3.0', 'torch': '2.13.0'},
}  # fmt: skip


def test_results_by_task():
    metrics = {
        'landmark/nme': 0.0123, 'coco/bbox_mAP': 0.4567, 'coco/segm_mAP': 0.1, 'coco/bbox_mAP_50': 1.0,
        'coco/bbox_mAP_75': -1.0, 'coco/RBC_precision': 0.3,
    }  # fmt: skip
    assert format_results(metrics, 'cells') == [
        {'Task': 'Object Detection', 'Dataset': 'cells', 'Metrics': {'box AP': 45.7, 'box AP50': 100.0}},
        {'Task': 'Instance Segmentation', 'Dataset': 'cells', 'Metrics': {'mask AP': 10.0}},
        {'Task': 'Face Alignment', 'Dataset': 'cells', 'Metrics': {'NME': 1.2}},
    ]
    assert len({name for _, name in NAMES.values()}) == len(NAMES)


@pytest.mark.parametrize('metrics', [{}, {'pascal/mAP': 0.5}, {'coco/bbox_mAP': -1}])
def test_nothing_that_the_zoo_knows(metrics):
    with pytest.raises(ValueError, match=r'the evaluator gave .* none of which is one of coco/bbox_mAP, '):
        format_results(metrics, 'x')


def test_a_training():
    about = describe_training('x', {'record': RECORD, 'cost': {'parameters': 5}})
    assert about == {
        'Parameters': 5, 'Training Time (min)': 5.0, 'Training Memory (GB)': 0.72,
        'Training Resources': '2 CPU threads', 'Seed': 0, 'Command': 'python tools/zoo.py --only x', 'Commit': 'abc',
        'Versions': 'mmdet 3.3.0, torch 2.13.0',
    }  # fmt: skip


def test_a_training_on_a_gpu_outside_of_git():
    record = RECORD | {'device': 'NVIDIA H200', 'step_seconds': None, 'commit': None}
    about = describe_training('x', {'record': record, 'cost': {'parameters': 5}})
    assert about['Training Resources'] == '2x NVIDIA H200'
    assert describe_training('x', {'record': RECORD | {'world_size': 1}, 'cost': {'parameters': 5}})[
        'Training Resources'
    ] == ('1 CPU thread')
    assert not {'Commit', 'Training Time (min)'} & set(about)
