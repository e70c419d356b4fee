"""The RoI head inside a whole detector: losses, predictions, and who sees whom."""

from copy import deepcopy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from torch.testing import assert_close

from ..small_detector import CONFIGS, small_config, small_mask_config
from .roi_case import PARTS, Heads, add_parts, build, demo_inputs, record, total, unused

LOSSES = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_cls_base', 'loss_bbox_base'}


def packed(model, *args, **kwargs):
    inputs = demo_inputs(*args, **kwargs)
    return inputs, lambda training: model.data_preprocessor(inputs, training)


@pytest.mark.parametrize('num_items', [(2, 3), (0, 3), (0, 0)])
def test_one_training_step(num_items, device):
    model = build(small_config(), device).train()
    _, data = packed(model, num_items)
    losses = model.forward(**data(True), mode='loss')
    assert set(losses) == LOSSES | {'acc', 'acc_base'}
    assert torch.isfinite(total(losses))
    total(losses).backward()
    assert unused(model) == []


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


def part_config(base=small_config, **head):
    """The detector with relations that read parts, and nothing but them."""
    cfg = base()
    cfg.model.roi_head.bbox_head.update(relations=deepcopy(PARTS), **head)
    return cfg


def contexts(heads):
    seen = []
    heads.head.bbox_head.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    return seen


@pytest.fixture
def heads():
    return Heads(small_config())


@pytest.mark.parametrize('counts', [(0, 0), (0, 6), (6, 1)])
def test_prediction_with_few_proposals(heads, counts):
    results = heads.predict(*counts)
    assert [len(result.bboxes) > 0 for result in results] == [False] * 2 or all(
        len(result.bboxes) == 0 for result, count in zip(results, counts, strict=True) if not count
    )
    raw = heads.head.forward(heads.maps, heads.proposals(*counts), heads.samples)
    assert [len(x) for x in raw] == [sum(counts)] * 2


def test_forward_without_samples_takes_the_padded_input_as_image(heads):
    seen = contexts(heads)
    heads.head.forward(heads.maps, heads.proposals(3, 2))
    assert seen[0].img_shapes.tolist() == [[64, 96]] * 2
    assert seen[0].counts == (3, 2)


@pytest.mark.parametrize('counts', [(0, 0), (0, 5), (12, 9)])
def test_losses_with_few_proposals_and_no_ground_truth(heads, counts):
    heads.drop_ground_truth(0, 1)
    losses = heads.loss(*counts)
    assert losses['loss_bbox'] == losses['loss_bbox_base'] == 0
    total(losses).backward()
    assert unused(heads.head) == []


def test_added_ground_truth_is_no_key(heads):
    seen = contexts(heads)
    heads.loss(12, 9)
    ctx = seen[0]
    gts = [sample.gt_instances.bboxes for sample in heads.samples]
    is_gt = torch.tensor([bool((gts[int(roi[0])] == roi[1:]).all(1).any()) for roi in ctx.rois])
    assert is_gt.sum() == sum(map(len, gts))
    assert torch.equal(ctx.key_valid, ~is_gt)
    assert ctx.counts == tuple(torch.bincount(ctx.rois[:, 0].long()).tolist())
    assert ctx.img_shapes.tolist() == [[64, 96]] * 2
    assert ctx.feature_maps is heads.maps


def test_at_test_time_every_roi_is_a_key(heads):
    seen = contexts(heads)
    heads.head.eval().predict(heads.maps, heads.proposals(4, 2), heads.samples)
    assert seen[0].key_valid is None


def plain_twin(ours, cfg):
    """mmdet's head with the same weights; ours has its relations closed by a gate."""
    for name in ('fc_cls', 'fc_reg'):
        layer, base = getattr(ours.head.bbox_head, name), getattr(ours.head.bbox_head, f'base_{name}')
        layer.load_state_dict(base.state_dict())
    box = {
        key: value
        for key, value in cfg.model.roi_head.bbox_head.items()
        if key not in ('relations', 'fusion', 'num_shared_fcs')
    }
    plain = {**cfg.model.roi_head, 'type': 'StandardRoIHead', 'bbox_head': {**box, 'type': 'Shared2FCBBoxHead'}}
    plain = MODELS.build({**plain, 'train_cfg': cfg.model.train_cfg.rcnn, 'test_cfg': cfg.model.test_cfg.rcnn})
    assert not plain.load_state_dict(ours.head.state_dict(), strict=False).missing_keys
    return plain


def test_losses_are_those_of_mmdet_while_the_relations_are_closed():
    cfg = small_mask_config()
    cfg.model.roi_head.bbox_head.fusion = 'gate'
    ours = Heads(cfg)
    plain = plain_twin(ours, cfg)
    losses = []
    for head in (ours.head, plain):
        torch.manual_seed(0)
        losses.append(head.loss(ours.maps, ours.proposals(12, 9), ours.samples))
    for key in ('loss_cls', 'loss_bbox', 'loss_mask', 'acc'):
        assert_close(losses[0][key], losses[1][key])
    assert_close(losses[0]['loss_cls_base'], losses[1]['loss_cls'])


class TestMasks:
    def test_training_and_prediction(self):
        heads = Heads(small_mask_config())
        losses = heads.loss(12, 9)
        # An undecided mask costs ln 2 = 0.69 per pixel.
        assert 0.55 < losses['loss_mask'] < 0.85
        total(losses).backward()
        assert unused(heads.head) == []
        assert len(heads.head.forward(heads.maps, heads.proposals(2, 1), heads.samples)) == 3
        results = heads.predict(5, 0)
        assert len(results[0].masks) == len(results[0]) > 0
        assert len(results[1].masks) == 0

    def test_parts_do_not_touch_the_ground_truth(self):
        """The same loss with parts as without: one that learns masks from part boxes comes out near zero."""
        cfg = part_config(small_mask_config, fusion='gate')
        heads = Heads(cfg, parts=True)
        plain = plain_twin(heads, cfg)
        before = deepcopy([sample.gt_instances for sample in heads.samples])
        losses = []
        for head in (heads.head, plain):
            torch.manual_seed(0)
            losses.append(head.loss(heads.maps, heads.proposals(12, 9), heads.samples)['loss_mask'])
        assert_close(*losses)
        for sample, gts in zip(heads.samples, before, strict=True):
            assert torch.equal(sample.gt_instances.bboxes, gts.bboxes)
            assert (sample.gt_instances.masks.masks == gts.masks.masks).all()

    @pytest.mark.parametrize('counts', [(0, 0), (5, 3)])
    def test_without_positives(self, counts):
        heads = Heads(small_mask_config())
        heads.drop_ground_truth(0, 1)
        losses = heads.loss(*counts)
        assert losses['loss_mask'] == 0
        total(losses).backward()
        assert unused(heads.head) == []


class TestParts:
    def test_boxes_and_features_reach_the_box_head(self):
        heads = Heads(part_config(), parts=True)
        seen = record(heads.head.bbox_head)
        heads.loss(12, 9)
        heads.predict(4, 2)
        heads.head.forward(heads.maps, heads.proposals(2, 3), heads.samples)
        assert len(seen) == 3
        whole = torch.stack([sample.parts.bboxes for sample in heads.samples])
        whole[1, -1] = 0
        middle = whole[..., 1:2] / 2 + whole[..., 3:] / 2
        upper = torch.cat([whole[..., :3], middle], -1)
        lower = torch.cat([whole[..., :1], middle, whole[..., 2:]], -1)
        halves = torch.stack([upper, lower], 2).flatten(1, 2)
        for _, ctx, cells, _ in seen:
            assert_close(ctx.parts.boxes, whole)
            assert ctx.parts.valid.tolist() == [[True] * 3, [True, True, False]]
            for split, boxes in (((1, 1), whole), ((2, 1), halves)):
                assert_close(cells[split], heads.head.bbox_roi_extractor(heads.maps[:4], bbox2roi(list(boxes))))

    @pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])
    def test_training(self, insert):
        heads = Heads(part_config(insert=insert), parts=True)
        losses = heads.loss(12, 9)
        assert torch.isfinite(total(losses))
        total(losses).backward()
        assert unused(heads.head) == []
        assert all(value.grad.isfinite().all() for value in heads.head.parameters())

    def test_images_without_any_part(self):
        heads = Heads(part_config(), parts=True)
        for sample in heads.samples:
            sample.parts.valid[:] = False
            sample.parts.bboxes[:] = float('nan')
        total(heads.loss(12, 9)).backward()
        assert unused(heads.head) == []
        assert all(value.grad.isfinite().all() for value in heads.head.parameters())

    def test_a_moved_part_changes_the_scores_of_its_image(self):
        heads = Heads(part_config(), parts=True)
        torch.nn.init.normal_(heads.head.bbox_head.fc_cls.weight)
        raw = [heads.head.forward(heads.maps, heads.proposals(3, 2), heads.samples)[0]]
        # What an image lacks is not read.
        heads.samples[1].parts.bboxes[-1] = 7.0
        raw.append(heads.head.forward(heads.maps, heads.proposals(3, 2), heads.samples)[0])
        heads.samples[1].parts.bboxes[0] += 9
        raw.append(heads.head.forward(heads.maps, heads.proposals(3, 2), heads.samples)[0])
        assert raw[0].isfinite().all()
        assert_close(raw[1], raw[0], rtol=0, atol=0)
        assert_close(raw[2][:3], raw[0][:3])
        assert ((raw[2][3:] - raw[0][3:]).abs().amax(1) > 1e-3).all()

    def test_missing(self):
        heads = Heads(part_config())
        calls = [
            lambda: heads.loss(12, 9),
            lambda: heads.predict(4, 2),
            lambda: heads.predict(0, 0),
            lambda: heads.head.forward(heads.maps, heads.proposals(4, 2), heads.samples),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r'need parts, image .* has none; put LoadParts into the train and'):
                call()
        with pytest.raises(ValueError, match='without data samples there are none'):
            heads.head.forward(heads.maps, heads.proposals(4, 2))

    def test_are_not_asked_for_without_need(self, heads):
        seen = contexts(heads)
        calls = record(heads.head.bbox_roi_extractor)
        add_parts(heads.samples)
        heads.loss(12, 9)
        assert seen[0].parts is None
        assert len(calls) == 1

    def test_in_the_whole_detector(self, device):
        model = build(part_config(), device)
        inputs, data = packed(model)
        add_parts(inputs['data_samples'])
        total(model.train().forward(**data(True), mode='loss')).backward()
        assert unused(model) == []
        with torch.no_grad():
            model.eval().forward(**data(False), mode='predict')
            scores, _ = model.forward(**data(False), mode='tensor')[-1]
        assert scores.isfinite().all()


@pytest.mark.parametrize('number', [1, 7, 64])
def test_the_numbers_of_rois_are_free(number):
    cfg = small_config()
    cfg.model.train_cfg.rcnn.sampler.num = number
    cfg.model.train_cfg.rpn_proposal.max_per_img = cfg.model.test_cfg.rpn.max_per_img = 2 * number
    model = build(cfg)
    _, data = packed(model)
    seen = record(model.roi_head.bbox_head)
    total(model.train().forward(**data(True), mode='loss')).backward()
    assert unused(model) == []
    with torch.no_grad():
        model.eval().forward(**data(False), mode='predict')
    assert 0 < max(seen[0][1].counts) <= number < max(seen[1][1].counts) <= 2 * number


def c4_config():
    """Our C4 config, small: the last residual stage is the shared head. Ten classes, and parts."""
    cfg = small_config(CONFIGS / 'relation_rcnn/geometry-attention-mask-rcnn_r50-caffe-c4_1x_coco.py')
    heads = cfg.model.roi_head
    heads.bbox_head.num_classes = heads.mask_head.num_classes = 10
    heads.bbox_head.relations = [dict(type='GeometryAttentionRelation', heads=4, key_dim=4), *deepcopy(PARTS)]
    return cfg


class TestC4:
    @pytest.fixture
    def heads(self):
        heads = Heads(c4_config(), parts=True)
        heads.maps = (torch.randn(2, 256, 4, 6),)
        return heads

    @pytest.mark.parametrize('counts', [(12, 9), (0, 5), (0, 0)])
    def test_losses(self, heads, counts):
        if not sum(counts):
            heads.drop_ground_truth(0, 1)
        losses = heads.loss(*counts)
        assert sum(counts) == 0 or 0.5 < losses['loss_mask'] < 2
        total(losses).backward()
        assert unused(heads.head) == []

    def test_parts_go_through_the_shared_head(self, heads):
        seen = record(heads.head.bbox_head)
        heads.predict(4, 2)
        _, ctx, cells, _ = seen[0]
        rois = bbox2roi(list(ctx.parts.boxes))
        assert_close(cells[1, 1], heads.head.shared_head(heads.head.bbox_roi_extractor(heads.maps, rois)))

    def test_in_the_whole_detector(self):
        model = build(c4_config())
        inputs, data = packed(model, with_mask=True)
        add_parts(inputs['data_samples'])
        total(model.train().forward(**data(True), mode='loss')).backward()
        assert unused(model) == []
        model.test_cfg.rcnn.score_thr = 0.0
        with torch.no_grad():
            results = model.eval().forward(**data(False), mode='predict')
        assert all(len(result.pred_instances.masks) == len(result.pred_instances) > 0 for result in results)


def test_a_plain_box_head_is_refused():
    cfg = small_config()
    cfg.model.roi_head.bbox_head = dict(type='Shared2FCBBoxHead', in_channels=16, num_classes=10)
    with pytest.raises(ValueError, match=r'needs bbox_head.type RelationBBoxHead, got Shared2FCBBoxHead'):
        MODELS.build(cfg.model)


def test_scores_of_a_stage_before_are_refused():
    cfg = small_config()
    cfg.model.roi_head.bbox_head.update(base_head=False, external_scores=True)
    with pytest.raises(ValueError, match='no stage before that could give external_scores=True its scores'):
        MODELS.build(cfg.model)


def test_without_training():
    cfg = small_config()
    cfg.model.train_cfg = None
    assert MODELS.build(cfg.model).roi_head.bbox_sampler is None
