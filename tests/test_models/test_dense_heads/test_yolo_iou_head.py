"""The YOLO head: what seed 002 got wrong is excluded, mmdet's numbers where mmdet is right."""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes, bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch.testing import assert_close

from mmdet_ext.models.losses import complete_iou_loss

from .dense_case import (
    EMPTY,
    GTS,
    NUM_CLASSES,
    SHAPE,
    SIZES,
    STRIDES,
    TEST_CFG,
    YOLO,
    assert_found,
    build,
    descend,
    features,
    images,
    loss_terms,
    predictions,
    total,
    unused,
)
from .test_single_shot_head import samples

GRID, YOLO_ASSIGNER = YOLO['train_cfg']['assigner'], dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
LEVEL_WEIGHTS = (0.4, 1.0, 4.0)
BINARY = dict(type='CrossEntropyLoss', use_sigmoid=True)
CELLS = [height * width for height, width in SIZES[::-1]]
LOSSES = {
    'binary': {},
    'focal': dict(loss_cls=dict(type='FocalLoss'), loss_conf=dict(type='FocalLoss')),
    'ghm': dict(loss_cls=dict(type='GHMCLoss'), loss_conf=dict(type='GHMCLoss', momentum=0.5)),
    'giou': dict(loss_bbox=dict(type='GIoULoss')),
}


def yolo(**changes):
    return build(YOLO, **changes)


def parent(**changes):
    """mmdet's head."""
    return build({name: value for name, value in YOLO.items() if name != 'type'}, type='YOLOV3Head', **changes)


def rows(maps, number=1):
    """(B, N, 5 + C) of all levels."""
    return torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, 5 + NUM_CLASSES) for x in maps], dim=1)


def grid(head, sizes=SIZES[::-1]):
    """Priors (N, 4) and strides (N,)."""
    levels = head.prior_generator.grid_priors(sizes, device='cpu')
    strides = [torch.full((len(own),), stride) for own, stride in zip(levels, head.featmap_strides, strict=True)]
    return torch.cat(levels), torch.cat(strides)


def slow_losses(head, maps, inputs):
    """All terms image by image, level by level, from an assignment of its own."""
    preds = rows(maps)
    priors, strides = grid(head)
    levels = torch.cat([torch.full((2 * cells,), i) for i, cells in enumerate(CELLS)])
    cls, box, iou, conf, counts, positives = 0, 0, 0, [0.0] * 3, [0] * 3, 0
    for i, gts in enumerate(inputs['batch_gt_instances']):
        flags = torch.cat(head.responsible_flags(SIZES[::-1], gts.bboxes, 'cpu'))
        found = head.assigner.assign(InstanceData(priors=priors, responsible_flags=flags, level_ids=levels), gts)
        for prior, gt in enumerate(found.gt_inds.tolist()):
            if gt < 0:
                continue
            x = preds[i, prior]
            level = int(levels[prior])
            counts[level] += 1
            goal = torch.tensor(0.0)
            if gt > 0:
                positives += 1
                centre = (priors[prior, :2] + priors[prior, 2:]) / 2 + (x[:2].sigmoid() - 0.5) * strides[prior]
                half = (priors[prior, 2:] - priors[prior, :2]) / 2 * x[2:4].exp()
                own, target = torch.cat([centre - half, centre + half])[None], gts.bboxes[gt - 1][None]
                box = box + complete_iou_loss(own, target, reduction='sum')
                goal = bbox_overlaps(own, target, is_aligned=True).detach()[0]
                iou = iou + goal
                label = F.one_hot(gts.labels[gt - 1], NUM_CLASSES).float()
                cls = cls + F.binary_cross_entropy_with_logits(x[5:], label, reduction='sum')
            conf[level] = conf[level] + F.binary_cross_entropy_with_logits(x[4], goal)
    means = [value / count for value, count in zip(conf, counts, strict=True)]
    return dict(
        loss_cls=cls / positives,
        loss_bbox=box / positives,
        loss_conf=sum(weight * mean for weight, mean in zip(head.level_weights, means, strict=True)),
        iou=iou / positives,
        num_pos=torch.tensor(float(positives)),
        num_neg=torch.tensor(float(sum(counts) - positives)),
        num_ignored=torch.tensor(float(2 * len(priors) - sum(counts))),
    )


class TestLosses:
    @pytest.mark.parametrize(
        'assigner', [GRID, dict(GRID, neg_iou_thr=0.2), YOLO_ASSIGNER], ids=['grid', 'gap', 'ours']
    )
    @pytest.mark.parametrize('level_weights', [None, LEVEL_WEIGHTS])
    def test_equals_a_slow_reference(self, assigner, level_weights):
        head = yolo(level_weights=level_weights, train_cfg=dict(assigner=assigner))
        (maps,) = predictions(head)
        losses, expected = head.loss_by_feat(maps, **images()), slow_losses(head, maps, images())
        assert losses.keys() == expected.keys()
        for name, value in expected.items():
            assert_close(losses[name], value)
        for name in ('loss_cls', 'loss_bbox', 'loss_conf'):
            assert_close(
                torch.autograd.grad(losses[name], maps, retain_graph=True),
                torch.autograd.grad(expected[name], maps, retain_graph=True),
            )
        assert losses['num_pos'] >= 4

    @pytest.mark.parametrize('name', LOSSES)
    def test_means_not_sums(self, name):
        """Seed 002: an objectness of 148 was the sum over all cells."""
        head = yolo(**LOSSES[name])
        (maps,) = predictions(head)
        once = head.loss_by_feat(maps, **images())
        twice = yolo(**LOSSES[name]).loss_by_feat([torch.cat([x, x]) for x in maps], **images(*GTS, *GTS))
        for term in loss_terms(once):
            assert_close(twice[term], once[term])
        assert_close(twice['iou'], once['iou'])
        assert twice['num_pos'] == 2 * once['num_pos']

    def test_no_term_rules_at_the_start(self):
        """Seed 002 started at 148 of 154; the configs of mmdet's head (`reduction='sum'`) do the same."""
        head = yolo(level_weights=LEVEL_WEIGHTS)
        losses = loss_terms(head.loss(features(head), samples()))
        assert max(losses.values()) < 0.9 * total(losses)
        theirs = parent(loss_conf=dict(BINARY, reduction='sum'))
        assert loss_terms(theirs.loss(features(head), samples()))['loss_conf'] > 10 * losses['loss_conf']

    def test_objectness_of_an_untrained_head_is_low(self):
        """Seed 000: nearly every cell was an object."""
        head = yolo()
        assert rows(head(features(head))[0])[..., 4].sigmoid().max() < 0.2

    def test_one_hot_smoother(self):
        plain, smooth = yolo(), yolo(one_hot_smoother=0.3)
        (maps,) = predictions(plain)
        sharp, soft = (
            rows(torch.autograd.grad(head.loss_by_feat(maps, **images())['loss_cls'], maps))[..., 5:]
            for head in (plain, smooth)
        )
        positive = sharp.abs().sum(-1) > 0
        # Targets are 0.8 instead of 1 for the class itself and 0.1 instead of 0 for the two others.
        shift = (soft - sharp)[positive] * positive.sum()
        assert_close(shift.sort().values, torch.tensor([[-0.1, -0.1, 0.2]]).expand_as(shift))

    @pytest.mark.parametrize('weights', [(0.0, 0.0, 1.0), (2.0, 0.0, 0.0)])
    def test_level_weights_are_of_objectness(self, weights):
        head = yolo(level_weights=weights)
        (maps,) = predictions(head)
        gradients = torch.autograd.grad(head.loss_by_feat(maps, **images())['loss_conf'], maps)
        assert [x.abs().sum() > 0 for x in gradients] == [weight > 0 for weight in weights]
        plain = yolo().loss_by_feat(maps, **images())
        losses = head.loss_by_feat(maps, **images())
        assert losses['loss_bbox'] == plain['loss_bbox']
        assert losses['loss_cls'] == plain['loss_cls']


class TestObjectness:
    def targets(self, monkeypatch, **changes):
        """Objectness targets of the positives, their IoU and CIoU, and whether a gradient flows to the boxes."""
        head = yolo(**changes)
        seen = []
        forward = head.loss_conf.forward
        monkeypatch.setattr(head.loss_conf, 'forward', lambda *args, **kw: seen.append(args) or forward(*args, **kw))
        boxes = []
        box_forward = head.loss_bbox.forward
        monkeypatch.setattr(
            head.loss_bbox, 'forward', lambda *args, **kw: boxes.append(args) or box_forward(*args, **kw)
        )
        (maps,) = predictions(head, spread=1.5)
        losses = head.loss_by_feat(maps, **images())
        grads = torch.autograd.grad(losses['loss_conf'], maps)
        boxes_learn = rows(grads)[..., :4].abs().sum() > 0
        target = seen[0][1].flatten()
        return (
            target,
            bbox_overlaps(*boxes[0][:2], is_aligned=True),
            complete_iou_loss(*boxes[0][:2], reduction='none'),
            boxes_learn,
            losses,
        )

    @pytest.mark.parametrize('kind', ['iou', 'ciou', 'one'])
    def test_target(self, kind, monkeypatch):
        target, iou, ciou_loss, boxes_learn, losses = self.targets(monkeypatch, obj_target=kind)
        expected = dict(iou=iou, ciou=(1 - ciou_loss).clamp(0, 1), one=torch.ones_like(iou))[kind]
        assert not target.requires_grad
        assert not boxes_learn
        assert 0 <= target.min() <= target.max() <= 1
        kept = expected[expected > 0]
        assert_close(target[target > 0].sort().values, kept.sort().values)
        assert len(kept)
        assert_close(losses['iou'], iou.mean())
        assert losses['num_pos'] == len(iou)

    def test_a_negative_ciou_is_no_target(self):
        """ultralytics/yolov3#901: a negative objectness made the loss NaN."""
        head = yolo(obj_target='ciou')
        (maps,) = predictions(head)
        with torch.no_grad():
            for x in maps:
                x.view(len(x), 2, 5 + NUM_CLASSES, *x.shape[-2:])[:, :, 2] = -6.0
                x.view(len(x), 2, 5 + NUM_CLASSES, *x.shape[-2:])[:, :, 3] = 3.0
        losses = head.loss_by_feat(maps, **images())
        assert losses['loss_bbox'] > 1
        assert losses['loss_conf'].isfinite()

    def test_one_is_mmdets(self):
        """Sums of mmdet's terms, times what was counted."""
        ours, theirs = yolo(obj_target='one'), parent()
        (maps,) = predictions(ours)
        losses, expected = ours.loss_by_feat(maps, **images()), theirs.loss_by_feat(maps, **images())
        counts = [4 * cells for cells in CELLS]
        assert_close(losses['loss_conf'], sum(self.conf_sums(ours, maps)))
        # mmdet: the mean over cells and classes of what positives give.
        sums = sum(x * count * NUM_CLASSES for x, count in zip(expected['loss_cls'], counts, strict=True))
        assert_close(losses['loss_cls'], sums / losses['num_pos'])

    def conf_sums(self, head, maps):
        """mmdet's means over all cells of a level, as means over those that are not ignored."""
        expected = parent().loss_by_feat(maps, **images())['loss_conf']
        priors, _ = grid(head)
        ignored = [0, 0, 0]
        levels = torch.cat([torch.full((2 * cells,), i) for i, cells in enumerate(CELLS)])
        for gts in images()['batch_gt_instances']:
            flags = torch.cat(head.responsible_flags(SIZES[::-1], gts.bboxes, 'cpu'))
            inds = head.assigner.assign(InstanceData(priors=priors, responsible_flags=flags), gts).gt_inds
            ignored = [number + int(((inds < 0) & (levels == i)).sum()) for i, number in enumerate(ignored)]
        counts = [4 * cells for cells in CELLS]
        return [x * count / (count - gap) for x, count, gap in zip(expected, counts, ignored, strict=True)]


class TestLayout:
    """Seed 002: IoU of the wrong channels, a division by the input size instead of the grid."""

    @pytest.mark.parametrize('order', [[2, 3, 0, 1], [4, 1, 2, 3], [1, 0, 2, 3]], ids=['wh-first', 'conf-first', 'yx'])
    def test_permuted_channels_change_the_iou(self, order):
        head = yolo()
        (maps,) = predictions(head)
        channels = [*order, 4 if 4 not in order else 0, *range(5, 5 + NUM_CLASSES)]
        channels += [5 + NUM_CLASSES + channel for channel in channels]
        plain, permuted = (head.loss_by_feat(own, **images()) for own in (maps, [x[:, channels] for x in maps]))
        assert abs(plain['iou'] - permuted['iou']) > 1e-3
        assert plain['loss_bbox'] != permuted['loss_bbox']

    def test_channels_have_one_meaning_each(self):
        """A gradient of every term flows to its own channels, and to no other."""
        head = yolo()
        (maps,) = predictions(head)
        losses = head.loss_by_feat(maps, **images())
        for term, channels in dict(loss_bbox=[0, 1, 2, 3], loss_conf=[4], loss_cls=[5, 6, 7]).items():
            grads = rows(torch.autograd.grad(losses[term], maps, retain_graph=True)).abs().sum(dim=(0, 1))
            assert grads.nonzero().flatten().tolist() == channels

    def test_predictions_of_the_truth_are_perfect(self):
        """encode -> maps -> loss and maps -> predict: IoU 1 both times, in pixels of the input."""
        head = yolo(test_cfg=dict(TEST_CFG, score_thr=0.5, conf_thr=0.5))
        gts = images()['batch_gt_instances']
        priors, strides = grid(head)
        preds = torch.zeros(2, len(priors), 5 + NUM_CLASSES)
        preds[..., 4:] = -8.0
        for i, own in enumerate(gts):
            flags = torch.cat(head.responsible_flags(SIZES[::-1], own.bboxes, 'cpu'))
            inds = head.assigner.assign(InstanceData(priors=priors, responsible_flags=flags), own).gt_inds
            pos = (inds > 0).nonzero().flatten()
            goal = own.bboxes[inds[pos] - 1]
            deltas = head.bbox_coder.encode(priors[pos], goal, strides[pos])
            preds[i, pos, :4] = torch.cat([deltas[:, :2].logit(), deltas[:, 2:]], dim=1)
            preds[i, pos, 4] = 8.0
            preds[i, pos, 5 + own.labels[inds[pos] - 1]] = 8.0
        maps, start = [], 0
        for (height, width), cells in zip(SIZES[::-1], CELLS, strict=True):
            level = preds[:, start : start + 2 * cells].reshape(2, height, width, -1)
            maps.append(level.permute(0, 3, 1, 2))
            start += 2 * cells
        losses = head.loss_by_feat(maps, **images())
        assert losses['iou'] > 0.9999
        assert total(losses) < 0.02
        for own, result in zip(gts, head.predict_by_feat(maps, images()['batch_img_metas']), strict=True):
            order = result.bboxes[:, 0].argsort()
            assert_close(result.bboxes[order], own.bboxes[own.bboxes[:, 0].argsort()], atol=0.01, rtol=0)
            assert_close(result.labels[order], own.labels[own.bboxes[:, 0].argsort()])

    @pytest.mark.parametrize('scale_xy', [1.0, 1.5])
    def test_predict_decodes_as_the_loss(self, scale_xy, monkeypatch):
        head = yolo(scale_xy=scale_xy)
        head.assigner.ignore_from = 'pred'
        seen = []
        assign = head.assigner.assign
        monkeypatch.setattr(
            head.assigner, 'assign', lambda instances, *args: seen.append(instances) or assign(instances, *args)
        )
        trained = []
        forward = head.loss_bbox.forward
        monkeypatch.setattr(
            head.loss_bbox, 'forward', lambda *args, **kw: trained.append(args[0]) or forward(*args, **kw)
        )
        (maps,) = predictions(head, spread=2.0)
        head.loss_by_feat(maps, **images())
        cfg = dict(TEST_CFG, score_thr=-1.0, conf_thr=-1, nms_pre=-1, min_bbox_size=-1)
        results = head.predict_by_feat(maps, images()['batch_img_metas'], cfg=cfg, with_nms=False)
        everything = []
        for result, instances in zip(results, seen, strict=True):
            predicted = result.bboxes.unique(dim=0)
            assert_close(predicted, instances.bboxes.unique(dim=0))
            assert not instances.bboxes.requires_grad
            everything.append(predicted)
        same = torch.isclose(trained[0].detach()[:, None], torch.cat(everything)[None]).all(2)
        assert same.any(1).all()

    def test_centres_stay_in_their_cells(self):
        head = yolo()
        maps = [torch.zeros(1, 2 * (5 + NUM_CLASSES), *size) for size in SIZES[::-1]]
        cfg = dict(TEST_CFG, score_thr=0.0, conf_thr=-1, nms_pre=-1)
        boxes = head.predict_by_feat(maps, images()['batch_img_metas'][:1], cfg=cfg, with_nms=False)[0].bboxes
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        # stride * grid is the input: cells cover all of it, and nothing else.
        assert centres.min(dim=0).values.tolist() == [STRIDES[0] / 2] * 2
        assert centres.max(dim=0).values.tolist() == [SHAPE[1] - STRIDES[0] / 2, SHAPE[0] - STRIDES[0] / 2]

    def test_stride_times_grid_is_the_input(self):
        head = yolo()
        (maps,) = predictions(head)
        inputs = images(shape=(80, 96))
        for call in (
            lambda: head.loss_by_feat(maps, **inputs),
            lambda: head.predict_by_feat(maps, inputs['batch_img_metas']),
        ):
            with pytest.raises(
                ValueError, match=r'a map of \(2, 3\) cells with stride 32 is not one of an input of \(80'
            ):
                call()
        with pytest.raises(ValueError, match='must follow the order of the feature maps'):
            head.loss_by_feat(maps[::-1], **images())

    def test_wide_boxes_do_not_overflow(self):
        """exp(90) is infinite in float32; mmdet's coder has no limit."""
        head, theirs = yolo(), parent()
        (maps,) = predictions(head)
        with torch.no_grad():
            for x in maps:
                x.view(len(x), 2, 5 + NUM_CLASSES, *x.shape[-2:])[:, :, 2:4] = 90.0
        losses = head.loss_by_feat(maps, **images())
        total(losses).backward()
        assert all(value.isfinite() for value in losses.values())
        assert all(x.grad.isfinite().all() for x in maps)
        cfg = ConfigDict(TEST_CFG, score_thr=0.0, nms_pre=50)
        found, expected = (
            copy_of.predict_by_feat(
                [x.detach().clone() for x in maps], images()['batch_img_metas'], cfg, with_nms=False
            )[0]
            for copy_of in (head, theirs)
        )
        assert found.bboxes.isfinite().all()
        assert (found.bboxes[:, 2] - found.bboxes[:, 0]).max() == pytest.approx(60 * 1000 / 16, rel=1e-4)
        assert not expected.bboxes.isfinite().all()


class TestAssigner:
    def test_ignored_regions_reach_it(self, monkeypatch):
        head = yolo(train_cfg=dict(assigner=YOLO_ASSIGNER))
        (maps,) = predictions(head)
        plain = head.loss_by_feat(maps, **images())
        ignored = head.loss_by_feat(maps, **images(ignored=[dict(bboxes=[[0.0, 0, 96, 64]]), None]))
        assert ignored['num_ignored'] > plain['num_ignored']
        assert ignored['num_pos'] == plain['num_pos']
        assert ignored['num_neg'] < plain['num_neg']

    def test_ignored_cells_learn_nothing(self):
        head = yolo(train_cfg=dict(assigner=YOLO_ASSIGNER))
        (maps,) = predictions(head, 1)
        everywhere = images(EMPTY, ignored=[dict(bboxes=[[-200.0, -200, 300, 300]])])
        losses = head.loss_by_feat(maps, **everywhere)
        assert losses['loss_conf'] == 0
        assert losses['num_neg'] == 0
        assert losses['num_ignored'] == 2 * sum(CELLS)

    def test_grid_assigner_says_that_it_does_not_look(self):
        head = yolo()
        (maps,) = predictions(head)
        region = dict(bboxes=[[0.0, 0, 9, 9]])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            head.loss_by_feat(maps, **images(ignored=[None, dict(bboxes=[])]))
            assert not caught
            for ignored in ([None, region], [region, region]):
                head.loss_by_feat(maps, **images(ignored=ignored))
        assert ['GridAssigner does not look at ignored regions' in str(own.message) for own in caught] == [True]

    def test_predictions_ignore(self):
        """Darknet: a cell whose box overlaps an ignored region is not background, wherever its prior lies."""
        options = dict(YOLO_ASSIGNER, ignore_from='pred', ignore_iof_thr=0.9)
        head = yolo(train_cfg=dict(assigner=options))
        (maps,) = predictions(head, 1)
        region = images(EMPTY, ignored=[dict(bboxes=[[-2000.0, -2000, 4000, 4000]])])
        assert head.loss_by_feat(maps, **region)['num_ignored'] == 2 * sum(CELLS)

    def test_centres_on_the_border(self):
        """mmdet: the right border is the next row's first cell, the lower one no cell at all (an index error)."""
        boxes = torch.tensor([[92.0, 4, 100, 12], [40, 60, 56, 68]])
        flags = yolo().responsible_flags(SIZES[::-1], boxes, 'cpu')
        assert [x.view(*size, 2)[..., 0].nonzero().tolist() for x, size in zip(flags, SIZES[::-1], strict=True)] == [
            [[0, 2], [1, 1]],
            [[0, 5], [3, 3]],
            [[1, 11], [7, 6]],
        ]
        with pytest.raises((IndexError, RuntimeError)):
            parent().responsible_flags(SIZES[::-1], boxes, 'cpu')

    def test_boxes_of_a_box_type(self):
        """As a data preprocessor with `boxtype2tensor=False` leaves them."""
        head, inputs = yolo(), images()
        (maps,) = predictions(head)
        expected = head.loss_by_feat(maps, **inputs)
        for gts in inputs['batch_gt_instances']:
            gts.bboxes = HorizontalBoxes(gts.bboxes)
        assert_close(head.loss_by_feat(maps, **inputs), expected)

    def test_cells_inside_are_mmdets(self):
        boxes = images()['batch_gt_instances'][0].bboxes
        ours, theirs = (head.responsible_flags(SIZES[::-1], boxes, 'cpu') for head in (yolo(), parent()))
        assert_close(ours, theirs)

    def test_sampler(self):
        """`YOLOV3Head` hands `context` to the registry, which takes no such argument."""
        cfg = dict(train_cfg=dict(assigner=GRID, sampler=dict(type='PseudoSampler')))
        with pytest.raises(TypeError, match='context'):
            parent(**cfg)
        assert type(yolo(**cfg).sampler).__name__ == 'PseudoSampler'
        with pytest.raises(ValueError, match='YOLOIoUHead: RandomSampler adds ground truth'):
            yolo(train_cfg=dict(assigner=GRID, sampler=dict(type='RandomSampler', num=8, pos_fraction=0.5)))


class TestDifficultInput:
    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize('gts', [[EMPTY, EMPTY], [GTS[0], EMPTY]], ids=['all', 'one'])
    @pytest.mark.parametrize('assigner', [GRID, YOLO_ASSIGNER], ids=['grid', 'ours'])
    def test_empty_images(self, name, gts, assigner):
        head = yolo(**LOSSES[name], train_cfg=dict(assigner=assigner))
        losses = head.loss(features(head), samples(*gts))
        assert all(value.isfinite() for value in losses.values())
        assert losses['loss_conf'] > 0
        if gts[0] is EMPTY:
            assert losses['loss_cls'] == losses['loss_bbox'] == losses['iou'] == losses['num_pos'] == 0
        total(losses).backward()
        assert unused(head) == []
        assert all(value.grad.isfinite().all() for value in head.parameters())

    def test_weights_of_zero_stay_connected(self):
        zero = dict(loss_weight=0.0)
        head = yolo(
            loss_cls=dict(BINARY, **zero),
            loss_conf=dict(BINARY, **zero),
            loss_bbox=dict(type='CompleteIoULoss', **zero),
        )
        losses = head.loss(features(head), samples())
        assert total(losses) == 0
        total(losses).backward()
        assert unused(head) == []

    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision(self, name, dtype):
        head = yolo(**LOSSES[name])
        (maps,) = predictions(head)
        exact = head.loss_by_feat(maps, **images())
        head = yolo(**LOSSES[name])
        halves = [x.detach().to(dtype).requires_grad_() for x in maps]
        losses = head.loss_by_feat(halves, **images())
        for term in loss_terms(exact):
            assert losses[term].dtype == torch.float32
            assert_close(losses[term], exact[term], rtol=0.05, atol=0.01)
        total(losses).backward()
        assert all(x.grad.isfinite().all() for x in halves)
        assert head.predict_by_feat(halves, images()['batch_img_metas'])[0].bboxes.dtype == torch.float32

    def test_autocast(self):
        head = yolo()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = head.loss(features(head), samples())
            assert head(features(head))[0][0].dtype == torch.bfloat16
        assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())

    def test_double_passes_through(self):
        head = yolo(**LOSSES['ghm'])  # mmdet's cross entropy makes float32 of it
        maps = [x.detach().double().requires_grad_() for x in predictions(head)[0]]
        losses = head.loss_by_feat(maps, **images())
        assert all(value.dtype == torch.float64 for value in loss_terms(losses).values())

    def test_bad_ground_truth_names_its_image(self):
        head = yolo()
        with pytest.raises(ValueError, match=r'YOLOIoUHead: image image_1\.png has the labels \[7\]'):
            head.loss_by_feat(*predictions(head), **images(GTS[0], dict(GTS[1], labels=[7])))


class TestPredict:
    @pytest.mark.parametrize('with_nms', [True, False])
    @pytest.mark.parametrize('rescale', [True, False])
    def test_equals_mmdet(self, with_nms, rescale):
        ours, theirs = yolo(), parent()
        (maps,) = predictions(ours, spread=0.8)
        found, expected = (
            head.predict_by_feat(
                [x.detach().clone() for x in maps], images()['batch_img_metas'], None, rescale, with_nms
            )
            for head in (ours, theirs)
        )
        for one, other in zip(found, expected, strict=True):
            assert len(one) > 5
            assert_close(dict(one.items()), dict(other.items()))

    def test_weights_of_mmdets_head_load(self):
        ours, theirs = yolo(), parent()
        ours.load_state_dict(theirs.state_dict())
        assert_close(ours(features(ours)), theirs(features(theirs)))

    def test_maps_stay_as_they_are(self):
        """mmdet writes sigmoids into channels-last maps: `loss_and_predict` twice gives other boxes."""
        for head, same in ((yolo(), True), (parent(), False)):
            maps = [x.detach().contiguous(memory_format=torch.channels_last) for x in predictions(head)[0]]
            before = copy.deepcopy(maps)
            head.predict_by_feat(maps, images()['batch_img_metas'])
            assert all(torch.equal(x, y) for x, y in zip(maps, before, strict=True)) is same

    def test_loss_and_predict(self):
        head = yolo()
        losses, results = head.loss_and_predict(features(head), samples())
        assert losses['loss_conf'] > 0
        assert len(results) == 2

    def test_no_detections(self):
        head = yolo(test_cfg=dict(TEST_CFG, conf_thr=0.99))
        for with_nms in (True, False):
            results = head.predict_by_feat(
                *head(features(head)), images()['batch_img_metas'], rescale=True, with_nms=with_nms
            )
            assert [tuple(result.bboxes.shape) for result in results] == [(0, 4)] * 2

    def test_inputs_of_unknown_shape(self):
        head = yolo()
        metas = [dict(img_shape=SHAPE)] * 2
        assert len(head.predict_by_feat(*predictions(head), metas)) == 2
        with pytest.raises(ValueError, match='YOLOIoUHead: image of unknown name has no scale_factor'):
            head.predict_by_feat(*predictions(head), metas, rescale=True)


@pytest.mark.parametrize(('assigner', 'obj_target'), [(GRID, 'iou'), (YOLO_ASSIGNER, 'ciou')], ids=['grid', 'ours'])
def test_descent_finds_the_truth(assigner, obj_target):
    scale_xy = 3.0 if assigner is YOLO_ASSIGNER else 1.0  # priors of neighbouring cells learn too
    head = yolo(obj_target=obj_target, scale_xy=scale_xy, train_cfg=dict(assigner=assigner))
    assert_found(descend(head))


class TestOptions:
    def test_it_calls_every_loss_once(self):
        assert yolo().single_call_losses is True

    def test_no_modules_of_the_parents_box_losses(self):
        head = yolo(loss_xy=None, loss_wh=None)
        assert sorted(name for name, _ in head.named_children() if 'loss' in name) == [
            'loss_bbox',
            'loss_cls',
            'loss_conf',
        ]

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(obj_target='giou'), r"obj_target='giou', allowed are \('iou', 'one', 'ciou'\)"),
            (
                dict(level_weights=(1, 2)),
                r'level_weights=\(1, 2\) must be one number of at least 0 for each of the strides',
            ),
            (dict(level_weights=(1, 2, -1)), r'level_weights=\(1, 2, -1\) must be'),
            (dict(scale_xy=0.5), r'scale_xy must be at least 1, got 0\.5'),
            (
                dict(featmap_strides=STRIDES),
                r'featmap_strides=\(8, 16, 32\) and the strides .* of the anchor generator differ',
            ),
            (dict(loss_wh=dict(type='MSELoss')), 'boxes learn by loss_bbox; set loss_wh=None'),
            (dict(loss_conf=dict(type='CrossEntropyLoss')), 'loss_conf must have use_sigmoid=True'),
            (dict(loss_cls=dict(BINARY, reduction='sum')), "loss_cls has reduction='sum', needed is 'mean'"),
            (dict(loss_conf=dict(type='GHMCLoss', scope='level')), "loss_conf has scope='level', but is called once"),
        ],
    )
    def test_bad_options(self, changes, message):
        with pytest.raises(ValueError, match=f'YOLOIoUHead: {message}'):
            yolo(**changes)

    def test_anchors_in_cells(self):
        """Seed 002: anchors in cells where pixels belong."""
        sizes = [[(w / 32, h / 32) for w, h in [(116, 90), (373, 326)]], [(1.9, 3.8)] * 2, [(1.25, 1.6)] * 2]
        with pytest.warns(UserWarning, match='base_sizes are in pixels, not in cells'):
            yolo(anchor_generator=dict(YOLO['anchor_generator'], base_sizes=sizes))

    def test_bad_maps(self):
        head = yolo()
        with pytest.raises(ValueError, match='2 maps for 3 levels'):
            head.predict_by_feat(predictions(head)[0][:2], images()['batch_img_metas'])

    def test_for_prediction_only(self):
        head = yolo(train_cfg=None)
        assert not hasattr(head, 'assigner')
        assert isinstance(head, YOLOV3Head)
        assert TASK_UTILS.get('YOLOBBoxCoder') is type(head.bbox_coder)
        assert math.isclose(sum(head.level_weights), 3)
