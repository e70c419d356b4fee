"""A step that is run again gives the same numbers, and leaves everything as it was."""

import os
import random

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData

from mmdet_ext.engine import step_record
from mmdet_ext.engine.step_record import StepRecord, StepState, replay_step
from tests.test_engine.monitor_case import Toy, batch, same, untouched, weights


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def losses(result):
    return [value.item() for value in (result['loss_a'], *result['loss_b'])]


def test_the_same_numbers_again_and_nothing_changed():
    model, data = Toy(), batch()
    record, mean = StepRecord.take(model, (), {**data, 'mode': 'loss'}), model.norm.running_mean
    result = model(**data, mode='loss')
    first = losses(result)
    # Dropout has drawn, the norm has moved, and the counter has counted.
    after, generators = weights(model), StepState.take(model).generators
    draw()
    expected = draw()
    StepState({}, {}, generators).restore(model)
    search = record.search(model)
    assert losses(search.result) == first
    assert not any(value.requires_grad for value in search.result.values() if torch.is_tensor(value))
    assert same(weights(model), after)
    assert model.calls == 1
    assert model.norm.running_mean is mean
    draw()
    assert draw() == expected
    assert untouched(model)
    # The backward pass of the step is still possible.
    result['loss_a'].backward()
    assert losses(model(**data, mode='loss')) != first


def test_autocast_is_repeated():
    model, data = Toy(), batch()
    with torch.autocast('cpu', torch.bfloat16):
        record = StepRecord.take(model, (data['inputs'],), {'mode': 'loss'})
        first = losses(model(data['inputs'], mode='loss'))
    assert record.autocast == torch.bfloat16
    assert losses(record.search(model).result) == first
    assert losses(StepRecord(record.args, record.kwargs, record.state, None).search(model).result) != first


def test_buffers_stay_the_same_tensors_unless_their_shape_changed():
    model = Toy()
    model.register_buffer('late', torch.ones(2))
    state, mean = StepState.take(model), model.norm.running_mean
    with torch.no_grad():
        mean.fill_(7)
        model.late.resize_(3)
    model.calls = 5
    random_before = torch.get_rng_state()
    torch.rand(1)
    moved = torch.get_rng_state()
    state.restore(model, generators=False)
    assert model.norm.running_mean is mean
    assert mean.tolist() == [0] * 4
    assert model.late.tolist() == [1, 1]
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), moved)
    state.restore(model)
    assert torch.equal(torch.get_rng_state(), random_before)


@pytest.mark.gpu
def test_random_numbers_of_a_gpu_are_repeated():
    model, data = Toy().cuda(), batch()
    inputs = data['inputs'].cuda()
    record = StepRecord.take(model, (inputs,), {'mode': 'loss'})
    first = losses(model(inputs, mode='loss'))
    assert losses(record.search(model).result) == pytest.approx(first, abs=1e-6)


@pytest.fixture
def stored(tmp_path):
    """A broken step of a trained model in a file, and what it gave."""
    torch.manual_seed(5)
    model, data = Toy(), batch(1)
    model.calls = 41
    with torch.no_grad():
        model.norm.running_mean.fill_(3)
    record = StepRecord.take(model, (), {**data, 'mode': 'loss'})
    state = weights(model)
    found = record.search(model)
    model(**data, mode='loss')
    path = record.save(tmp_path / 'deep' / 'step.pth', {'iteration': 42, 'losses': {'loss': 1.0}}, model.state_dict())
    return path, state, found


def test_a_step_from_a_file(stored):
    path, state, found = stored
    other = Toy().eval()
    replay = replay_step(other, path)
    assert other.training
    assert replay.losses['acc'] == 2
    assert float(replay.losses['loss_c']) == float(found.result['loss_c'])
    assert replay.report.startswith("The first module to give one is breaker (Breaker): 1 NaN of 32 values, of '1.png'")
    assert {key: replay.facts[key] for key in ('iteration', 'losses', 'images')} == {
        'iteration': 42,
        'losses': {'loss': 1.0},
        'images': ['folder/0.png', 'folder/1.png'],
    }
    # The file has the running mean of before the step, which the model had lost already.
    assert same(weights(other), state)


def test_a_finite_step_from_a_file_has_the_same_losses(tmp_path):
    model, data = Toy(), batch()
    record = StepRecord.take(model, (), {**data, 'mode': 'loss'})
    first = losses(model(**data, mode='loss'))
    path = record.save(tmp_path / 'step.pth', {}, model.state_dict())
    torch.manual_seed(99)
    assert losses(replay_step(Toy(), path).losses) == first
    path = record.save(tmp_path / 'bare.pth', {}, None)
    other = Toy()
    own = weights(other)
    assert losses(replay_step(other, path).losses) != first
    assert torch.equal(other.stem.weight, own['stem.weight'])


def test_files_that_do_not_fit(stored, tmp_path):
    path, _, _ = stored
    torch.save({'state_dict': {}}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth is no step written by LossMonitorHook'):
        replay_step(Toy(), tmp_path / 'other.pth')
    model = Toy()
    model.extra = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r'(?s)step\.pth is a step of another model than this Toy: .*extra'):
        replay_step(model, path)
    with pytest.raises(ValueError, match='another model than this Linear: it has no module breaker'):
        replay_step(torch.nn.Linear(1, 1), path)


class _Evil:
    def __reduce__(self):
        return os.mkdir, ('harm_was_done',)


def test_code_in_a_step_is_never_run(stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _, _ = stored
    content = torch.load(path, weights_only=False)
    torch.save({**content, 'args': (_Evil(),)}, 'evil.pth')
    with pytest.raises(ValueError, match=r'evil\.pth is no step .*refused because loading them could run code: '):
        replay_step(Toy(), 'evil.pth')
    assert not os.path.exists('harm_was_done')
    (tmp_path / 'half.pth').write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r'half\.pth is no step written by LossMonitorHook, or a damaged one'):
        replay_step(Toy(), tmp_path / 'half.pth')
    with pytest.raises(FileNotFoundError, match=r'no stored step .*none\.pth'):
        replay_step(Toy(), tmp_path / 'none.pth')


def test_real_samples_come_back(tmp_path):
    """Boxes, masks, maps and what numpy leaves in the metas of a real batch."""
    sample = DetDataSample(metainfo=dict(img_id=1, scale_factor=(np.float64(0.5), 0.5), homography_matrix=np.eye(3)))
    masks = BitmapMasks(np.ones((1, 4, 4), np.uint8), 4, 4)
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(torch.ones(1, 4)), labels=torch.ones(1), masks=masks)
    sample.ignored_instances = InstanceData(masks=PolygonMasks([[np.arange(6.0)]], 4, 4))
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, 4, 4))
    torch.save({'kwargs': {'data_samples': [sample]}}, tmp_path / 's.pth')
    (found,) = step_record._read(tmp_path / 's.pth')['kwargs']['data_samples']
    assert found.scale_factor == (0.5, 0.5)
    assert found.gt_instances.bboxes.tensor.tolist() == [[1, 1, 1, 1]]
    assert found.gt_instances.masks.masks.sum() == 16
    assert found.ignored_instances.masks.masks[0][0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.gt_sem_seg.shape == (4, 4)
