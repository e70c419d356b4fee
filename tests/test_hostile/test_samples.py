"""The good files are good: `test_search.py` reads each of them. Here what they hold."""

import json

import pytest
import torch

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.reliability.hostile import samples


def test_landmarks_on_demand():
    with_landmarks, without = (json.loads(samples.coco(landmarks))['annotations'] for landmarks in (True, False))
    assert {len(annotation['keypoints']) for annotation in with_landmarks} == {15}
    assert not any('keypoints' in annotation for annotation in without)


@pytest.mark.parametrize('suffix', ['.catgraph.json', '.npz'])
def test_graph(tmp_path, suffix):
    (tmp_path / f'g{suffix}').write_bytes(samples.graph(suffix))
    assert CategoryGraph.load(tmp_path / f'g{suffix}').matrix[0, 1] == 0.5


def test_checkpoint(tmp_path):
    (tmp_path / 'c.pth').write_bytes(samples.checkpoint())
    state = torch.load(tmp_path / 'c.pth', weights_only=True)['state_dict']
    assert all(torch.equal(state[name], value) for name, value in samples.checkpoint_state().items())
