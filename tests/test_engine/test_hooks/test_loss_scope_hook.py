"""Which GHM losses the hook lets pass, and when it counts their calls."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.structures import InstanceData
from torch import nn

from mmdet_ext.engine.hooks import LossScopeHook, loss_scope_hook
from mmdet_ext.models.losses import GHMCLoss, GHMRLoss
from tests.tiny_coco import tiny_run

GHM_C = dict(type='GHMCLoss', bins=10, use_sigmoid=True)
GHM_R = dict(type='GHMRLoss', bins=10)


def retina(kind='RetinaHead', **losses):
    head = dict(
        type=kind,
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5), allowed_border=-1, pos_weight=-1
        ),
        **losses,
    )
    return nn.ModuleDict(dict(bbox_head=MODELS.build(head)))


def rcnn(kind='Shared2FCBBoxHead', **losses):
    head = dict(type=kind, in_channels=8, roi_feat_size=1, fc_out_channels=8, num_classes=3, **losses)
    return nn.ModuleDict(dict(roi_head=nn.ModuleDict(dict(bbox_head=MODELS.build(head)))))


@MODELS.register_module()
class OnceHeadOfTest(RetinaHead):
    single_call_losses = True


class Wrapper(nn.Module):
    """A loss around a loss; its attribute is called like the method of a head."""

    def __init__(self):
        super().__init__()
        self.loss = GHMCLoss(10, reduction='none')


def check(model, hook=None):
    (hook or LossScopeHook()).before_train(SimpleNamespace(model=model))


def test_without_ghm_losses_it_rests():
    hook = LossScopeHook()
    check(retina(), hook)
    check(rcnn(), hook)
    hook.before_train_iter(None, 0)
    hook.after_train_iter(None, 0)


class TestBatch:
    @pytest.mark.parametrize('losses', [dict(loss_cls=GHM_C), dict(loss_bbox=GHM_R)])
    def test_a_head_that_calls_per_level_is_refused(self, losses):
        with pytest.raises(ValueError, match="scope='batch' needs a head that calls the loss once") as error:
            check(retina(**losses))
        name, kind = ('loss_cls', 'GHMCLoss') if 'loss_cls' in losses else ('loss_bbox', 'GHMRLoss')
        assert f'{kind} at model.bbox_head.{name}, in RetinaHead' in str(error.value)
        assert 'OnceHeadOfTest' in str(error.value)
        assert "set scope='level'" in str(error.value)

    def test_heads_that_declare_it_pass(self):
        check(retina('OnceHeadOfTest', loss_cls=GHM_C, loss_bbox=GHM_R))
        assert {'OnceHeadOfTest', 'SingleShotHead', 'YOLOIoUHead'} <= set(loss_scope_hook.single_call_heads())
        assert 'RetinaHead' not in loss_scope_hook.single_call_heads()

    def test_a_wrapped_loss_belongs_to_the_head_around(self):
        for kind, refused in (('RetinaHead', True), ('OnceHeadOfTest', False)):
            model = retina(kind)
            model['bbox_head'].loss_cls = Wrapper()
            if refused:
                with pytest.raises(ValueError, match=r'at model.bbox_head.loss_cls.loss, in RetinaHead'):
                    check(model)
            else:
                check(model)

    def test_a_loss_in_no_head_is_refused(self):
        with pytest.raises(ValueError, match=r'at model.loss, in ModuleDict'):
            check(nn.ModuleDict(dict(loss=GHMCLoss(10))))

    def test_rcnn_passes(self):
        check(rcnn(loss_cls=GHM_C | dict(use_sigmoid=False), loss_bbox=GHM_R))

    def test_its_box_loss_on_several_ranks(self, monkeypatch):
        monkeypatch.setattr(loss_scope_hook, 'get_world_size', lambda: 2)
        check(rcnn(loss_cls=GHM_C | dict(use_sigmoid=False)))
        check(rcnn(loss_bbox=GHM_R | dict(all_reduce=False)))
        with pytest.raises(ValueError, match=r'skips loss_bbox on a rank without positives.* Set all_reduce=False'):
            check(rcnn(loss_bbox=GHM_R))

    def test_a_box_head_that_calls_per_instance_is_refused(self):
        model = rcnn('MultiInstanceBBoxHead', loss_cls=GHM_C | dict(use_sigmoid=False), num_shared_fcs=2)
        with pytest.raises(ValueError, match='in MultiInstanceBBoxHead'):
            check(model)

    def test_wrapped_models(self):
        class Wrapped(nn.parallel.DataParallel):
            pass

        loss_scope_hook_model = Wrapped(retina(loss_cls=GHM_C))
        with pytest.raises(ValueError, match=r'at model.bbox_head.loss_cls'):
            check(loss_scope_hook_model)


class TestLevels:
    LEVEL = dict(scope='level', num_levels=3, momentum=0.75)

    def test_head_and_loss_agree_on_their_number(self):
        check(retina(loss_cls=GHM_C | self.LEVEL))
        check(retina(loss_cls=GHM_C | dict(scope='level')))
        with pytest.raises(ValueError, match=r'number of calls in a step, which is 3 .* got 5'):
            check(retina(loss_cls=GHM_C | self.LEVEL | dict(num_levels=5)))
        with pytest.raises(ValueError, match='which is 1 in this head, got 3'):
            check(retina('OnceHeadOfTest', loss_cls=GHM_C | self.LEVEL))

    def test_every_step_begins_with_the_first_level_and_ends_with_the_last(self):
        model, hook = retina(loss_cls=GHM_C | self.LEVEL, loss_bbox=GHM_R | self.LEVEL), LossScopeHook()
        check(model, hook)
        head = model['bbox_head']
        # What an interrupted step left.
        head.loss_cls.calls = 2
        gt = InstanceData(bboxes=torch.tensor([[4.0, 4, 30, 30]]), labels=torch.tensor([1]))
        sample = DetDataSample(gt_instances=gt, metainfo=dict(img_shape=(64, 64), pad_shape=(64, 64)))
        hook.before_train_iter(None, 0)
        head.loss([torch.rand(1, 8, size, size) for size in (8, 4, 2)], [sample])
        hook.after_train_iter(None, 0)
        assert head.loss_cls.num_updates.tolist() == [1, 1, 1]
        # 64, 16 and 4 cells of one anchor and three classes.
        assert head.loss_cls.acc_sum.sum((1, 2)).tolist() == [48.0, 12.0, 3.0]
        head.loss_cls(torch.zeros(1, 3), torch.zeros(1, 3))
        with pytest.raises(ValueError, match=r'at model.bbox_head.loss_cls: .* It is 3, and there were 4 calls'):
            hook.after_train_iter(None, 0)


class TestCallsInAStep:
    def test_one_average_for_two_classifiers(self):
        """Each of them has its own: two calls of one loss in a box head, as with a base classifier."""
        for options, refused in (({}, True), (dict(scope='level', num_levels=2), False), (dict(momentum=0), False)):
            model, hook = rcnn(loss_cls=GHM_C | dict(use_sigmoid=False, momentum=0.5) | options), LossScopeHook()
            check(model, hook)
            loss = model['roi_head']['bbox_head'].loss_cls
            for _ in range(2):
                hook.before_train_iter(None, 0)
                loss(torch.zeros(1, 4), torch.tensor([0]))
                if loss.scope == 'batch':
                    hook.after_train_iter(None, 0)
                loss(torch.zeros(1, 4), torch.tensor([0]))
                if refused:
                    with pytest.raises(ValueError, match=r"called 2 times in a step.* scope='level', num_levels=2"):
                        hook.after_train_iter(None, 0)
                else:
                    hook.after_train_iter(None, 0)


class TestActivation:
    @pytest.mark.parametrize(
        ('model', 'names'),
        [
            (lambda: retina(loss_cls=dict(type='GHMCLoss', scope='level')), ('sigmoid', 'softmax')),
            (lambda: rcnn(loss_cls=dict(type='GHMCLoss')), ('sigmoid', 'softmax')),
        ],
    )
    def test_a_mismatch_is_said(self, model, names, caplog, monkeypatch):
        said = []
        monkeypatch.setattr(loss_scope_hook, 'print_log', lambda *args: said.append(args))
        check(model())
        ((text, logger, level),) = said
        assert f'trains by {names[0]}, but the head predicts by {names[1]}' in text
        assert 'use_sigmoid=False in the config of the loss' in text
        assert (logger, level) == ('current', logging.WARNING)

    def test_a_match_is_not(self, monkeypatch):
        monkeypatch.setattr(loss_scope_hook, 'print_log', lambda *args: pytest.fail('said something'))
        check(retina(loss_cls=GHM_C | dict(scope='level'), loss_bbox=GHM_R | dict(scope='level')))
        check(rcnn(loss_cls=GHM_C | dict(use_sigmoid=False), loss_bbox=GHM_R))


def train(work_dir, **loss):
    """One epoch of a RetinaNet with two levels."""
    run = tiny_run()
    options = {
        'custom_hooks': [dict(type='LossScopeHook')],
        'model.bbox_head.loss_cls': dict(GHM_C, _delete_=True, **loss),
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 5,
    }
    run.train(work_dir=work_dir, cfg_options=options)
    return torch.load(work_dir / 'epoch_1.pth', weights_only=True)['state_dict']


def test_a_real_training_is_stopped_before_its_first_step(tmp_path):
    with pytest.raises(ValueError, match=r'GHMCLoss at model.bbox_head.loss_cls, in RetinaHead'):
        train(tmp_path)


def test_a_real_training_by_levels(tmp_path):
    state = train(tmp_path, scope='level', num_levels=2, momentum=0.5)
    assert state['bbox_head.loss_cls.num_updates'].tolist() == [2, 2]
    assert state['bbox_head.loss_cls.acc_sum'].sum((1, 2)).tolist()[0] > 0


def test_our_runtime_has_it():
    hooks = Config.fromfile('configs/_base_/runtime.py').custom_hooks
    assert dict(type='LossScopeHook') in hooks
    assert issubclass(LossScopeHook, Hook)
    assert GHMRLoss().scope == 'batch'
