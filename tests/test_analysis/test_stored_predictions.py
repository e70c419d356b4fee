"""Predictions as mmdet stores them, and pickles that want to run something."""

import os
import pickle

import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from mmengine.fileio import dump

from mmdet_ext.analysis.stored_predictions import read_predictions


def sample(img_id=1, n=2, **changes):
    pred = {
        'bboxes': torch.arange(4.0 * n).reshape(n, 4),
        'scores': torch.linspace(0.9, 0.1, n),
        'labels': torch.arange(n) % 2,
    }
    meta = {'img_path': 'x.png', 'scale_factor': (np.float64(0.5), 0.5), 'matrix': np.eye(2)}
    return {'img_id': img_id, 'ori_shape': (8, 9), **meta, 'pred_instances': {**pred, **changes}}


@pytest.fixture
def write(tmp_path):
    def write(content, protocol=2):
        path = tmp_path / 'p.pkl'
        path.write_bytes(pickle.dumps(content, protocol))
        return path

    return write


def test_what_mmdet_writes(tmp_path):
    path = str(tmp_path / 'p.pkl')
    metric = DumpDetResults(path)
    masks = torch.zeros(2, 8, 9, dtype=torch.bool)
    masks[0, 2:4, 1:5] = True
    metric.process({}, [sample('a', masks=masks, mask_scores=torch.tensor([0.5, 0.25])), sample(2, n=0)])
    metric.evaluate(2)
    first, empty = read_predictions(path)
    assert (first.img_id, first.ori_shape) == ('a', (8, 9))
    assert first.bboxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert first.scores.tolist() == pytest.approx([0.9, 0.1])
    assert first.labels.dtype == torch.int64
    assert first.masks[0]['size'] == [8, 9]
    assert first.mask_scores.tolist() == [0.5, 0.25]
    assert empty.bboxes.shape == (0, 4)
    assert empty.masks is None


@pytest.mark.parametrize('protocol', range(6))
def test_every_protocol_and_arrays_for_tensors(write, protocol):
    content = sample(bboxes=np.ones((2, 4), dtype='<f8'), scores=np.array([0.5, 0.25], dtype='<f4'))
    (image,) = read_predictions(write([content], protocol))
    assert image.bboxes.dtype == image.scores.dtype == torch.float32
    assert image.scores.tolist() == [0.5, 0.25]


def test_slices_of_a_larger_tensor(write):
    (image,) = read_predictions(write([sample(scores=torch.arange(10.0)[4::5])]))
    assert image.scores.tolist() == [4.0, 9.0]


def test_take_and_sample(write):
    content = sample(masks=[{'size': [8, 9], 'counts': b'a'}, {'size': [8, 9], 'counts': b'b'}], n=2)
    content['pred_instances']['mask_scores'] = torch.tensor([0.5, 0.25])
    (image,) = read_predictions(write([content]))
    taken = image.take(torch.tensor([1]))
    assert taken.labels.tolist() == [1]
    assert taken.masks == [{'size': [8, 9], 'counts': b'b'}]
    assert taken.mask_scores.tolist() == [0.25]
    made = taken.as_sample()
    assert set(made['pred_instances']) == {'bboxes', 'scores', 'labels', 'masks', 'mask_scores'}
    # Metrics write into the masks they get.
    made['pred_instances']['masks'][0]['counts'] = 'x'
    assert taken.masks[0]['counts'] == b'b'
    assert set(read_predictions(write([sample()]))[0].as_sample()['pred_instances']) == {'bboxes', 'scores', 'labels'}


class Evil:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def test_nothing_of_a_pickle_is_run(write, tmp_path):
    mark = tmp_path / 'mark'
    with pytest.raises(ValueError, match=r'it wants to call (posix|nt|os)\.mkdir; only tensors, arrays and plain'):
        read_predictions(write([sample(x=Evil(os.mkdir, (str(mark),)))]))
    # The way in that torch leaves open: a storage may be any pickle.
    inner = tmp_path / 'inner.pth'
    torch.save(Evil(os.mkdir, (str(mark),)), inner, _use_new_zipfile_serialization=False)
    storage = Evil(torch.storage._load_from_bytes, (inner.read_bytes(),))
    with pytest.raises(ValueError, match='was not loaded'):
        read_predictions(write([sample(x=storage)]))
    assert not mark.exists()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no file .*nope.pkl; tools/test.py CONFIG CHECKPOINT --out'):
        read_predictions(tmp_path / 'nope.pkl')


def without(key):
    return {name: value for name, value in sample(7).items() if name != key}


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ([], 'is no list of predictions'),
        ({'a': 1}, 'is no list of predictions'),
        ([[np.zeros((2, 5))]], 'results of mmdet 2.x'),
        ([without('img_id')], "image at place 0: lacks 'img_id'"),
        ([without('pred_instances')], "image 7: lacks 'pred_instances'"),
        ([sample(7), sample(7)], 'image 7: is there twice'),
        (
            [dict(sample(7), pred_instances={'bboxes': torch.zeros(1, 4)})],
            'image 7: pred_instances lacks scores, labels',
        ),
        (
            [sample(7, bboxes=torch.zeros(2, 5))],
            r'image 7: .* must be \(n, 4\), \(n,\) and \(n,\), got \(2, 5\), \(2,\)',
        ),
        ([sample(7, scores=torch.zeros(3))], r'got \(2, 4\), \(3,\), \(2,\)'),
        ([sample(7, scores=torch.tensor([0.5, float('nan')]))], 'image 7: has a score or a box that is not finite'),
    ],
)
def test_bad_content(write, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_predictions(write(content))


def test_mmengine_writes_protocol_2(tmp_path):
    dump([sample()], str(tmp_path / 'a.pkl'))
    assert len(read_predictions(tmp_path / 'a.pkl')) == 1
