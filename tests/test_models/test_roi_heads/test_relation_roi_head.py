"""The RoI head inside a whole detector: losses, predictions, and who sees whom."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.structures import InstanceData
from torch.testing import assert_close

from mmdet_ext.models.roi_heads.relation_roi_head import not_ground_truth

from ..small_detector import small_config, small_mask_config

LOSSES = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_cls_base', 'loss_bbox_base'}


def build(cfg, device='cpu'):
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.to(device)


def packed(model, num_items=(2, 3), shapes=((3, 64, 96), (3, 64, 96)), with_mask=False):
    inputs = demo_mm_inputs(
        len(shapes), image_shapes=list(shapes), num_items=list(num_items), num_classes=10, with_mask=with_mask
    )
    return inputs, lambda training: model.data_preprocessor(inputs, training)


def total(losses):
    flat = [
        value
        for key, values in losses.items()
        if 'loss' in key
        for value in (values if isinstance(values, list) else [values])
    ]
    return sum(value.sum() for value in flat)


@pytest.mark.parametrize('num_items', [(2, 3), (0, 3), (0, 0)])
def test_one_training_step(num_items, device):
    model = build(small_config(), device).train()
    _, data = packed(model, num_items)
    losses = model.forward(**data(True), mode='loss')
    assert set(losses) == LOSSES | {'acc', 'acc_base'}
    assert torch.isfinite(total(losses))
    total(losses).backward()
    unused = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert unused == []


def test_prediction(device):
    model = build(small_config(), device).eval()
    model.test_cfg.rcnn.score_thr = 0.0
    _, data = packed(model, shapes=((3, 64, 96), (3, 64, 70)))
    with torch.no_grad():
        results = model.forward(**data(False), mode='predict')
    for result, width in zip(results, (96, 70), strict=True):
        found = result.pred_instances
        assert len(found) > 0
        assert found.bboxes[:, 2].max() <= width
        assert ((found.labels >= 0) & (found.labels < 10)).all()


def test_the_tensor_mode_gives_raw_outputs():
    model = build(small_config()).eval()
    _, data = packed(model)
    with torch.no_grad():
        scores, deltas = model.forward(**data(False), mode='tensor')[-1]
    assert scores.shape[1] == 11
    assert deltas.shape == (len(scores), 40)


def test_images_do_not_see_their_batch_mates():
    model = build(small_config()).eval()
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight)
    model.test_cfg.rcnn.score_thr = 0.0
    inputs, _ = packed(model)
    with torch.no_grad():
        together = model.test_step(inputs)
        for image, result in enumerate(together):
            alone = model.test_step({key: value[image : image + 1] for key, value in inputs.items()})[0]
            for key in ('bboxes', 'scores', 'labels'):
                assert_close(result.pred_instances[key], alone.pred_instances[key], rtol=1e-4, atol=1e-4)


class Heads:
    """The RoI head alone, on feature maps and proposals of our choice."""

    def __init__(self, cfg):
        self.model = build(cfg)
        _, data = packed(self.model, with_mask=cfg.model.roi_head.get('mask_head') is not None)
        self.samples = data(True)['data_samples']
        self.head = self.model.roi_head
        self.maps = tuple(torch.randn(2, 16, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32, 64))

    @property
    def metas(self):
        return [sample.metainfo for sample in self.samples]

    def proposals(self, *counts):
        boxes = torch.tensor([[5.0, 5, 40, 40]]) + torch.arange(20.0)[:, None]
        scores = torch.linspace(1, 0, 20)
        labels = torch.zeros(20, dtype=torch.long)
        return [InstanceData(bboxes=boxes[:n], scores=scores[:n], labels=labels[:n]) for n in counts]

    def contexts(self):
        seen = []
        self.head.bbox_head.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
        return seen


@pytest.fixture
def heads():
    return Heads(small_config())


@pytest.mark.parametrize('counts', [(0, 0), (0, 6), (6, 1)])
def test_prediction_with_few_proposals(heads, counts):
    heads.head.eval()
    results = heads.head.predict(heads.maps, heads.proposals(*counts), heads.samples, rescale=False)
    assert [len(result.bboxes) > 0 for result in results] == [False] * 2 or all(
        len(result.bboxes) == 0 for result, count in zip(results, counts, strict=True) if not count
    )
    raw = heads.head.forward(heads.maps, heads.proposals(*counts), heads.samples)
    assert [len(x) for x in raw] == [sum(counts)] * 2


def test_forward_without_samples_takes_the_padded_input_as_image(heads):
    seen = heads.contexts()
    heads.head.forward(heads.maps, heads.proposals(3, 2))
    assert seen[0].img_shapes.tolist() == [[64, 96]] * 2
    assert seen[0].counts == (3, 2)


@pytest.mark.gpu
def test_the_context_does_not_wait_for_the_device(heads):
    heads.head.to('cuda')
    rois, maps = torch.zeros(5, 5, device='cuda'), tuple(level.cuda() for level in heads.maps)
    torch.cuda.set_sync_debug_mode('error')
    try:
        ctx = heads.head._context(maps, rois, (3, 2), heads.metas)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert ctx.img_shapes.device == rois.device
    assert ctx.img_shapes.tolist() == [[64, 96]] * 2


@pytest.mark.parametrize('counts', [(0, 0), (0, 5), (12, 9)])
def test_losses_with_few_proposals_and_no_ground_truth(heads, counts):
    for sample in heads.samples:
        sample.gt_instances = sample.gt_instances[:0]
    losses = heads.head.loss(heads.maps, heads.proposals(*counts), heads.samples)
    assert losses['loss_bbox'] == losses['loss_bbox_base'] == 0
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in heads.head.parameters())


def test_added_ground_truth_is_no_key(heads):
    seen = heads.contexts()
    heads.head.loss(heads.maps, heads.proposals(12, 9), heads.samples)
    ctx = seen[0]
    gts = [sample.gt_instances.bboxes for sample in heads.samples]
    is_gt = torch.tensor([bool((gts[int(roi[0])] == roi[1:]).all(1).any()) for roi in ctx.rois])
    assert is_gt.sum() == sum(map(len, gts))
    assert torch.equal(ctx.key_valid, ~is_gt)
    assert ctx.counts == tuple(torch.bincount(ctx.rois[:, 0].long()).tolist())
    assert ctx.img_shapes.tolist() == [[64, 96]] * 2
    assert ctx.feature_maps is heads.maps


def test_at_test_time_every_roi_is_a_key(heads):
    seen = heads.contexts()
    heads.head.eval().predict(heads.maps, heads.proposals(4, 2), heads.samples)
    assert seen[0].key_valid is None


def test_flags_of_samples_without_positives(heads):
    heads.head.train_cfg.sampler.add_gt_as_proposals = False
    for sample in heads.samples:
        sample.gt_instances = sample.gt_instances[:0]
    results = []
    for proposals, sample in zip(heads.proposals(3, 2), heads.samples, strict=True):
        proposals.priors = proposals.pop('bboxes')
        assigned = heads.head.bbox_assigner.assign(proposals, sample.gt_instances)
        results.append(heads.head.bbox_sampler.sample(assigned, proposals, sample.gt_instances))
    assert not_ground_truth(results).tolist() == [True] * 5


def test_losses_of_the_box_branch_are_those_of_mmdet():
    """With the relations closed, the enhanced losses equal a plain head's on the same samples."""
    cfg = small_config()
    cfg.model.roi_head.bbox_head.update(fusion='gate')
    ours = Heads(cfg)
    ours.head.bbox_head.fc_cls.load_state_dict(ours.head.bbox_head.base_fc_cls.state_dict())
    ours.head.bbox_head.fc_reg.load_state_dict(ours.head.bbox_head.base_fc_reg.state_dict())
    plain_cfg = {key: value for key, value in cfg.model.roi_head.items() if key not in ('type', 'bbox_head')}
    box = {
        key: value
        for key, value in cfg.model.roi_head.bbox_head.items()
        if key not in ('relations', 'fusion', 'num_shared_fcs')
    }
    plain_cfg.update(type='StandardRoIHead', bbox_head={**box, 'type': 'Shared2FCBBoxHead'})
    plain = MODELS.build({**plain_cfg, 'train_cfg': cfg.model.train_cfg.rcnn, 'test_cfg': cfg.model.test_cfg.rcnn})
    plain.load_state_dict(ours.head.state_dict(), strict=False)
    losses = []
    for head in (ours.head, plain):
        torch.manual_seed(0)
        losses.append(head.loss(ours.maps, ours.proposals(12, 9), ours.samples))
    for key in ('loss_cls', 'loss_bbox', 'acc'):
        assert_close(losses[0][key], losses[1][key])
    assert_close(losses[0]['loss_cls_base'], losses[1]['loss_cls'])


def test_masks():
    heads = Heads(small_mask_config())
    losses = heads.head.loss(heads.maps, heads.proposals(12, 9), heads.samples)
    assert 0.1 < losses['loss_mask'] < 5
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in heads.head.parameters())
    assert len(heads.head.forward(heads.maps, heads.proposals(2, 1), heads.samples)) == 3
    heads.head.eval()
    heads.head.test_cfg.score_thr = 0.0
    with torch.no_grad():
        results = heads.head.predict(heads.maps, heads.proposals(5, 0), heads.samples, rescale=False)
    assert len(results[0].masks) == len(results[0]) > 0
    assert len(results[1].masks) == 0


def test_c4():
    """One feature map, the last residual stage as shared head, pooled features."""
    cfg = small_config()
    cfg.model.roi_head.update(
        shared_head=dict(type='ResLayer', depth=50, stage=1, stride=1, dilation=1, style='pytorch', norm_eval=False),
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=4, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[16],
        ),
    )
    cfg.model.roi_head.bbox_head.update(in_channels=512, roi_feat_size=4, with_avg_pool=True, num_shared_fcs=1)
    heads = Heads(cfg)
    heads.maps = (torch.randn(2, 256, 4, 6),)
    losses = heads.head.loss(heads.maps, heads.proposals(12, 9), heads.samples)
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in heads.head.parameters())
    assert heads.head.bbox_head.base_fc_cls.in_features == 32


def test_a_plain_box_head_is_refused():
    cfg = small_config()
    cfg.model.roi_head.bbox_head = dict(type='Shared2FCBBoxHead', in_channels=16, num_classes=10)
    with pytest.raises(ValueError, match=r'needs bbox_head.type RelationBBoxHead, got Shared2FCBBoxHead'):
        MODELS.build(cfg.model)
