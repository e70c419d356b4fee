"""Tensors inside of outputs, and names of modules."""

from dataclasses import dataclass

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.model.wrappers import MMDistributedDataParallel
from mmengine.structures import InstanceData
from torch import Tensor, distributed, nn

from mmdet_ext.engine.module_outputs import (
    choose_modules,
    data_samples,
    float_tensors,
    is_compiled,
    named_modules,
    uncompiled,
    unwrapped,
)
from tests.test_engine.monitor_case import Toy, batch


@dataclass
class Output:
    feats: Tensor
    losses: dict


def test_tensors_of_containers_in_order():
    a, b, c, d, e = (torch.full((1,), float(value)) for value in range(5))
    boxes = HorizontalBoxes(torch.ones(1, 4))
    value = {'x': (a, [b, None, 3.0]), 'y': Output(c, {'z': d.half()}), 'boxes': boxes, 'w': e.long()}
    found = list(float_tensors(value))
    assert [tensor.flatten()[0].item() for tensor in found] == [0, 1, 2, 3, 1]
    assert found[0] is a
    for nothing in (Output, torch.ones(2).to_sparse(), 'x'):
        assert list(float_tensors(nothing)) == []


def test_annotations_are_left_alone():
    sample = DetDataSample(gt_instances=InstanceData(bboxes=torch.ones(1, 4)))
    assert [tensor.shape for tensor in float_tensors([sample, torch.zeros(1)])] == [(1,)]
    assert list(data_samples({'a': [sample], 'b': (torch.ones(1), {'c': sample})})) == [sample, sample]
    assert len(list(data_samples(batch()))) == 2


def test_leaves_are_the_default():
    assert list(choose_modules(Toy())) == ['breaker', 'stem', 'norm', 'drop', 'head']


def test_patterns_may_name_containers_and_shared_modules_have_one_name():
    shared = nn.Linear(1, 1)
    model = nn.Sequential(nn.Sequential(shared, nn.ReLU()), shared)
    assert list(choose_modules(model, ['0', '*1'])) == ['0', '0.1']
    assert list(choose_modules(model)) == ['0.0', '0.1']


def test_wrappers_leave_no_trace_in_names(tmp_path):
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        model = Toy()
        wrapped = MMDistributedDataParallel(model, device_ids=None)
        assert unwrapped(wrapped) is model
        assert list(choose_modules(wrapped)) == list(choose_modules(model))
    finally:
        distributed.destroy_process_group()
    inner = nn.Sequential()
    inner.add_module('_checkpoint_wrapped_module', nn.Linear(1, 1))
    assert named_modules(nn.Sequential(inner)) == choose_modules(nn.Sequential(inner)) == {'0': inner[0]}


def test_a_pattern_without_a_module():
    with pytest.raises(ValueError, match=r"no module of Toy has a name like 'heads'; there are head.* and others"):
        choose_modules(Toy(), ['stem', 'heads'])


def test_compiled_methods_are_put_aside():
    model = Toy()
    assert not is_compiled(model)
    original = model.train_step

    def train_step(*args):
        return 'compiled'

    train_step._torchdynamo_orig_callable = original
    model.train_step = train_step
    assert is_compiled(model)
    with uncompiled(model):
        assert model.train_step == original
    assert model.train_step is train_step


def test_the_mark_of_compiled_methods_is_torchs_own():
    model = Toy()
    model.forward = torch.compile(model.forward, backend='eager')
    assert is_compiled(model)
