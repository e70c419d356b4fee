"""Single-shot heads: mmdet's numbers where mmdet is right, and what it has not got."""

import warnings

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead, SSDHead
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import ConfigDict
from torch.testing import assert_close

from mmdet_ext.models.dense_heads import SingleShotHead

from .dense_case import (
    CIOU,
    EMPTY,
    FOCAL,
    GTS,
    MAX_IOU,
    NUM_CLASSES,
    OHEM,
    RETINA,
    SHAPE,
    SIZES,
    SOFTMAX,
    SSD,
    TEST_CFG,
    as_maps,
    assert_found,
    build,
    descend,
    features,
    images,
    loss_terms,
    predictions,
    samples,
    single_shot,
    total,
    unused,
)

DECODED = dict(reg_decoded_bbox=True, loss_bbox=dict(type='GIoULoss', loss_weight=2.0))
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=0.5)
AS_RETINA = {
    'focal': {},
    'binary': dict(loss_cls=SIGMOID),
    'softmax': dict(loss_cls=SOFTMAX, loss_bbox=dict(type='SmoothL1Loss', beta=0.1)),
    'decoded': DECODED,
    'pos_weight': dict(train_cfg=dict(RETINA['train_cfg'], pos_weight=3.0)),
    'inside_only': dict(train_cfg=dict(RETINA['train_cfg'], allowed_border=0)),
    'sampled': dict(
        loss_cls=SIGMOID,
        train_cfg=dict(
            RETINA['train_cfg'],
            sampler=dict(type='RandomSampler', num=64, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
        ),
    ),
}
LOSSES = {
    'focal': dict(loss_cls=FOCAL),
    'softmax': dict(loss_cls=SOFTMAX),
    'ohem': dict(loss_cls=OHEM),
    'ghm': dict(loss_cls=dict(type='GHMCLoss', bins=10, momentum=0.5), loss_bbox=dict(type='GHMRLoss', momentum=0.5)),
    'ghm_softmax': dict(loss_cls=dict(type='GHMCLoss', bins=10, use_sigmoid=False)),
    'mmdet_ghm': dict(loss_cls=dict(type='GHMC', bins=10), loss_bbox=dict(type='GHMR')),
    'ciou': dict(loss_cls=FOCAL, loss_bbox=CIOU, reg_decoded_bbox=True),
}
YOLO_ASSIGNER = dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
NO_DELTAS = torch.zeros(2, 0, 4)


def both(ours, theirs, inputs=None, number=2):
    """Losses of both heads for the same predictions, and their gradients."""
    results = []
    for head in (ours, theirs):
        torch.manual_seed(0)  # samplers draw
        maps = predictions(ours, number)
        losses = loss_terms(head.loss_by_feat(*maps, **(inputs or images())))
        total(losses).backward()
        results.append((losses, [x.grad for level in maps for x in level]))
    return results


def ssd_head(**changes):
    """mmdet's, which takes a part of its losses from `train_cfg`."""
    cfg = {name: value for name, value in SSD.items() if name != 'loss_cls'}
    train_cfg = dict(cfg['train_cfg'], smoothl1_beta=1.0, neg_pos_ratio=3)
    return build({**cfg, 'type': SSDHead, 'train_cfg': train_cfg}, **changes)


def as_ssd(**changes):
    return single_shot({**SSD, 'loss_cls': OHEM, 'loss_bbox': dict(type='SmoothL1Loss', beta=1.0)}, **changes)


def renamed(state):
    """A `RetinaHead`'s weights under the names of ours."""
    names = {'cls_convs': 'cls_convs', 'reg_convs': 'reg_convs', 'retina_cls': 'conv_cls', 'retina_reg': 'conv_reg'}
    return {f'predictors.0.{names[key.split(".")[0]]}.{key.split(".", 1)[1]}': value for key, value in state.items()}


class TestEqualsMMDet:
    @pytest.mark.parametrize('name', AS_RETINA)
    def test_retina_losses(self, name):
        changes = AS_RETINA[name]
        (ours, grads), (theirs, others) = both(single_shot(**changes), build({**RETINA, 'type': RetinaHead}, **changes))
        assert ours.keys() == theirs.keys() == {'loss_cls', 'loss_bbox'}
        assert all(value > 0 for value in ours.values())
        assert_close(ours, theirs)
        assert_close(grads, others)

    def test_retina_with_ignored_regions(self):
        ignored = [dict(bboxes=[[0.0, 0, 50, 64]]), None]
        ours, theirs = single_shot(), build({**RETINA, 'type': RetinaHead})
        (losses, grads), expected = both(ours, theirs, images(ignored=ignored))
        assert_close((losses, grads), expected)
        without, _ = both(ours, theirs)
        assert losses['loss_cls'] != without[0]['loss_cls']

    def test_retina_weights(self):
        """The same features through the same weights: maps, losses and detections."""
        ours, theirs = single_shot(), build({**RETINA, 'type': RetinaHead})
        for value in theirs.parameters():
            torch.nn.init.normal_(value, std=0.2)
        ours.load_state_dict(renamed(theirs.state_dict()))
        feats = features(ours)
        assert_close(ours(feats), tuple(map(list, theirs(feats))))
        metas = images()['batch_img_metas']
        for rescale in (False, True):
            found, expected = (
                head.predict_by_feat(*head(feats), batch_img_metas=metas, rescale=rescale) for head in (ours, theirs)
            )
            for one, other in zip(found, expected, strict=True):
                assert len(one) > 5
                assert_close(one.all_items() and dict(one.items()), dict(other.items()))

    @pytest.mark.parametrize('decoded', [False, True])
    def test_ssd_losses(self, decoded):
        changes = dict(reg_decoded_bbox=True) if decoded else {}
        (ours, grads), (theirs, others) = both(as_ssd(**changes), ssd_head(**changes))
        assert_close(ours, theirs)
        assert_close(grads, others)

    def test_ssd_weights(self):
        ours, theirs = as_ssd(), ssd_head()
        for kind, name in (('cls_convs', 'conv_cls'), ('reg_convs', 'conv_reg')):
            for predictor, convs in zip(ours.predictors, getattr(theirs, kind), strict=True):
                getattr(predictor, name).load_state_dict(convs[0].state_dict())
        feats = features(ours)
        assert_close(ours(feats), theirs(feats))
        assert ours.num_base_priors == theirs.num_base_priors == [4, 6, 4]

    @pytest.mark.parametrize('make', [single_shot, as_ssd])
    def test_the_normaliser_of_empty_images(self, make):
        """mmdet counts an image without positives as one; ours counts positives."""
        theirs = build({**RETINA, 'type': RetinaHead}) if make is single_shot else ssd_head()
        changes = {} if make is single_shot else dict(loss_cls=dict(OHEM, min_neg=0))
        (ours, _), (other, _) = both(make(**changes), theirs, images(*GTS, EMPTY, EMPTY), number=4)
        number = make().loss_by_feat(*predictions(make(), 4), **images(*GTS, EMPTY, EMPTY))['num_pos']
        assert_close(ours['loss_bbox'], other['loss_bbox'] * (number + 2) / number)
        assert_close(ours['loss_cls'], other['loss_cls'] * (number + 2) / number)

    def test_negatives_of_empty_images(self):
        """`SSDHead` learns nothing from them; an `OHEMLoss` takes the hardest `min_neg`."""
        maps = predictions(as_ssd(), 1)
        assert loss_terms(ssd_head().loss_by_feat(*maps, **images(EMPTY)))['loss_cls'] == 0
        logits = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, NUM_CLASSES + 1) for x in maps[0]])
        hardest = -logits.log_softmax(1)[:, -1].sort().values[:3]
        assert_close(as_ssd().loss_by_feat(*maps, **images(EMPTY))['loss_cls'], hardest.sum())

    def test_nms_pre_of_all(self):
        """mmdet cuts the sorted candidates at -1 and so loses the worst of every level."""
        cfg = ConfigDict(TEST_CFG, nms_pre=-1, score_thr=0.0, min_bbox_size=-1)
        found = {}
        for kind in (SingleShotHead, RetinaHead):
            head = build({**RETINA, 'type': kind})
            results = head.predict_by_feat(
                *predictions(head), batch_img_metas=images()['batch_img_metas'], cfg=cfg, with_nms=False
            )
            found[kind] = len(results[0])
        everything = NUM_CLASSES * 6 * sum(height * width for height, width in SIZES)
        assert found == {SingleShotHead: everything, RetinaHead: everything - len(SIZES)}


class TestOneCall:
    @pytest.mark.parametrize('name', ['focal', 'ohem'])
    def test_shapes(self, name, monkeypatch):
        head = single_shot(**LOSSES[name])
        assert type(head).single_call_losses is True
        calls = []
        for loss in (head.loss_cls, head.loss_bbox):
            monkeypatch.setattr(
                loss, 'forward', lambda *args, **kwargs: calls.append((args, kwargs)) or args[0].sum() * 0
            )
        losses = head.loss_by_feat(*predictions(head), **images())
        (cls, cls_options), (box, box_options) = calls
        number = 6 * sum(height * width for height, width in SIZES)
        channels = NUM_CLASSES + (name == 'ohem')
        rows = (2, number) if name == 'ohem' else (2 * number,)
        assert [tuple(x.shape) for x in cls] == [(*rows, channels), rows, rows]
        assert [tuple(x.shape) for x in box] == [(int(losses['num_pos']), 4)] * 3
        assert cls_options['avg_factor'] == box_options['avg_factor'] == losses['num_pos'] > 0

    def test_priors_and_predictions_are_in_one_order(self):
        """A head that predicts the targets has no box loss, on every level and anchor."""
        head = single_shot(SSD, loss_bbox=dict(type='L1Loss'))
        gts = [
            [x, y, x + size, y + size * ratio] for x, y, size, ratio in [(3, 5, 14, 1), (20, 8, 30, 2), (44, 9, 48, 1)]
        ]
        inputs = images(dict(bboxes=gts, labels=[0, 1, 2]))
        scores, _ = predictions(head, 1)
        deltas = torch.zeros(1, sum(h * w * a for (h, w), a in zip(SIZES, [4, 6, 4], strict=True)), 4)
        targets = head.match(SIZES, deltas, **{**inputs, 'batch_img_metas': inputs['batch_img_metas']})
        deltas[0, targets.pos_inds] = head.bbox_coder.encode(targets.pos_priors, targets.pos_gt_bboxes)
        maps = as_maps(deltas, SIZES, [4, 6, 4])
        losses = head.loss_by_feat(scores, maps, **inputs)
        assert losses['num_pos'] >= 3
        assert_close(losses['loss_bbox'], torch.tensor(0.0))


class TestActivation:
    """Seed 001: a sigmoid was trained and a softmax predicted."""

    @pytest.mark.parametrize('name', LOSSES)
    def test_predict_uses_what_the_loss_trains(self, name):
        head = single_shot(**LOSSES[name])
        sigmoid = name not in ('softmax', 'ohem', 'ghm_softmax')
        assert head.use_sigmoid_cls is sigmoid
        assert head.cls_out_channels == NUM_CLASSES + (not sigmoid)
        scores, deltas = predictions(head, 1, spread=2.0)
        cfg = dict(TEST_CFG, score_thr=0.0, nms_pre=10000, min_bbox_size=-1)
        result = head.predict_by_feat(
            scores, deltas, batch_img_metas=images()['batch_img_metas'][:1], cfg=cfg, with_nms=False
        )[0]
        logits = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, head.cls_out_channels) for x in scores])
        expected = logits.sigmoid() if sigmoid else logits.softmax(1)[:, :NUM_CLASSES]
        assert_close(result.scores.sort().values, expected.flatten().sort().values)

    def test_a_loss_that_is_silent_in_the_config(self):
        """`FocalLoss` is sigmoid by default; `AnchorHead` reads the config and takes it for softmax."""
        cfg = dict(loss_cls=dict(type='FocalLoss'))
        assert build({**RETINA, 'type': RetinaHead}, **cfg).use_sigmoid_cls is False
        assert single_shot(**cfg).use_sigmoid_cls is True

    @pytest.mark.parametrize(
        ('name', 'bias'), [('focal', torch.tensor(0.02).logit().item()), ('softmax', 0.0), ('ohem', 0.0)]
    )
    def test_prior(self, name, bias):
        """Seed 000: nearly every score was above 0.5."""
        head = single_shot(**LOSSES[name], cls_prior=0.02)
        assert_close(head.predictors[0].conv_cls.bias, torch.full_like(head.predictors[0].conv_cls.bias, bias))
        if name == 'focal':
            assert max(x.sigmoid().max() for x in head(features(head))[0]) < 0.1


class TestBoxTerm:
    def grads(self, head, scores):
        """What the box loss says of the scores and of the deltas."""
        maps = predictions(head)
        with torch.no_grad():
            for x in maps[0]:
                x.copy_(torch.full_like(x, scores))
        head.loss_by_feat(*maps, **images())['loss_bbox'].backward()
        return [x.grad for x in maps[0]], torch.cat([x.grad.flatten() for x in maps[1]])

    @pytest.mark.parametrize('name', ['focal', 'softmax', 'ciou'])
    def test_it_knows_nothing_of_scores(self, name):
        head = single_shot(**LOSSES[name])
        scores, low = self.grads(head, -2.0)
        assert scores == [None] * 3
        assert low.abs().sum() > 0
        assert torch.equal(low, self.grads(head, 3.0)[1])

    def test_focal_on_bbox(self):
        """Seed 000: perhaps the box loss needs no focal term."""
        head = single_shot(focal_on_bbox=True, focal_gamma=1.5)
        assert self.grads(head, -2.0)[0] == [None] * 3
        plain = self.grads(single_shot(), -2.0)[1]
        for score in (-2.0, 3.0):
            factor = (1 - torch.tensor(score).sigmoid()) ** 1.5
            assert_close(self.grads(head, score)[1], plain * factor)

    def test_focal_on_bbox_of_softmax(self):
        plain = self.grads(single_shot(loss_cls=SOFTMAX), 1.0)[1]
        assert_close(self.grads(single_shot(loss_cls=SOFTMAX, focal_on_bbox=True), 1.0)[1], plain * 0.75**2)


class TestSmallObjects:
    @pytest.mark.parametrize('loss', ['focal', 'ohem', 'ghm', 'ciou'])
    def test_one_object(self, loss):
        """All positives of an image belong to one box: its weight comes out of the losses."""
        inputs = images(dict(bboxes=[[16.0, 16, 48, 48]], labels=[1]))
        factor = 2 - 32 * 32 / (SHAPE[0] * SHAPE[1])
        losses = []
        for changes in ({}, dict(small_obj_weight='2-area'), dict(small_obj_weight='2-area', small_obj_on_cls=False)):
            head = single_shot(**LOSSES[loss], **changes)
            losses.append(head.loss_by_feat(*predictions(head, 1), **inputs))
        plain, both_terms, box_only = losses
        assert_close(box_only['loss_cls'], plain['loss_cls'])
        assert_close(both_terms['loss_bbox'], box_only['loss_bbox'])
        if loss == 'ghm':  # the density is of the deltas, the weight scales the loss
            factor = torch.tensor(factor)
        assert_close(box_only['loss_bbox'], plain['loss_bbox'] * factor)
        assert plain['loss_cls'] < both_terms['loss_cls'] < plain['loss_cls'] * factor

    def test_only_positives_weigh_more(self):
        head = single_shot(loss_cls=SOFTMAX, small_obj_weight='2-area')
        maps = predictions(head, 1)
        head.loss_by_feat(*maps, **images(EMPTY))['loss_cls'].backward()
        heavy = [x.grad.clone() for x in maps[0]]
        plain = single_shot(loss_cls=SOFTMAX)
        maps = predictions(plain, 1)
        plain.loss_by_feat(*maps, **images(EMPTY))['loss_cls'].backward()
        assert_close(heavy, [x.grad for x in maps[0]])

    def test_area_is_of_the_image_not_of_its_padding(self):
        inputs = images(dict(bboxes=[[16.0, 16, 48, 48]], labels=[1]))
        inputs['batch_img_metas'][0]['img_shape'] = (48, 64)
        head = single_shot(small_obj_weight='2-area')
        losses = [make.loss_by_feat(*predictions(make, 1), **inputs)['loss_bbox'] for make in (single_shot(), head)]
        assert_close(losses[1], losses[0] * (2 - 1024 / (48 * 64)))


class TestCounts:
    def test_all_priors_are_counted(self):
        head = single_shot()
        losses = head.loss_by_feat(*predictions(head), **images())
        counts = [losses[name] for name in ('num_pos', 'num_neg', 'num_ignored')]
        assert sum(counts) == 2 * 6 * sum(height * width for height, width in SIZES)
        assert all(count > 0 for count in counts)
        assert not any(count.requires_grad for count in counts)

    def test_padding_is_not_counted(self):
        inputs = images(EMPTY)
        inputs['batch_img_metas'][0]['pad_shape'] = (32, 96)
        head = single_shot()
        losses = head.loss_by_feat(*predictions(head, 1), **inputs)
        assert losses['num_neg'] == 6 * sum(height * width for height, width in [(4, 12), (2, 6), (1, 3)])
        assert losses['num_pos'] == losses['num_ignored'] == 0

    def test_only_losses_are_summed(self):
        head = single_shot()
        assert loss_terms(head.loss_by_feat(*predictions(head), **images())).keys() == {'loss_cls', 'loss_bbox'}

    def test_positive_infos(self):
        head = single_shot()
        losses = head.loss_by_feat(*predictions(head), **images())
        results = head._raw_positive_infos['sampling_results']
        assert sum(len(result.pos_inds) for result in results) == losses['num_pos']


class Recorder:
    """An assigner that keeps what it was given."""

    ignore_from = 'pred'

    def __init__(self):
        self.seen = []
        self.max_iou = TASK_UTILS.build(MAX_IOU)

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None):
        self.seen.append((pred_instances, gt_instances_ignore))
        return self.max_iou.assign(pred_instances, gt_instances, gt_instances_ignore)


class TestAssigner:
    def test_it_sees_levels_predictions_and_ignored_regions(self):
        head = single_shot()
        head.assigner = Recorder()
        inputs = images(ignored=[dict(bboxes=[[0.0, 0, 8, 8]]), None])
        inputs['batch_img_metas'][1]['pad_shape'] = (32, 96)
        scores, deltas = predictions(head)
        head.loss_by_feat(scores, deltas, **inputs)
        (first, regions), (second, nothing) = head.assigner.seen
        assert regions.bboxes.tolist() == [[0, 0, 8, 8]]
        assert nothing is None
        numbers = [6 * height * width for height, width in SIZES]
        assert torch.bincount(first.level_ids).tolist() == numbers
        assert torch.bincount(second.level_ids).tolist() == [number // 2 for number in numbers]
        rows = torch.cat([x[0].permute(1, 2, 0).reshape(-1, 4) for x in deltas])
        assert_close(first.bboxes, head.bbox_coder.decode(first.priors, rows).detach())
        assert len(second.bboxes) == len(second.priors) == sum(numbers) // 2
        assert not first.bboxes.requires_grad

    @pytest.mark.parametrize(
        ('kind', 'name'), [('SimOTAAssigner', 'bboxes'), ('TaskAlignedAssigner', 'bboxes'), ('GridAssigner', 'resp')]
    )
    def test_what_it_does_not_see(self, kind, name):
        options = dict(TaskAlignedAssigner=dict(topk=9), GridAssigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4))
        head = single_shot(train_cfg=dict(assigner=dict(type=kind, **options.get(kind, {})), allowed_border=-1))
        with pytest.raises(ValueError, match=f'{kind} looks at `{name}.*, which here have level_ids, priors; use'):
            head.loss_by_feat(*predictions(head), **images())

    def test_labels_of_no_objects_may_be_floats(self):
        head, inputs = single_shot(train_cfg=dict(assigner=YOLO_ASSIGNER, allowed_border=-1)), images(GTS[0], EMPTY)
        maps = predictions(head)
        expected = head.loss_by_feat(*maps, **inputs)
        inputs['batch_gt_instances'][1].labels = torch.tensor([])
        assert_close(head.loss_by_feat(*maps, **inputs), expected)

    def test_other_errors_of_it_are_its_own(self, monkeypatch):
        head = single_shot()
        monkeypatch.setattr(head.assigner, 'assign', lambda *_: torch.nothing)
        with pytest.raises(AttributeError, match='nothing'):
            head.loss_by_feat(*predictions(head), **images())

    def test_predictions_only_where_asked_for(self):
        head = single_shot()
        head.assigner = Recorder()
        head.assigner.ignore_from = 'prior'
        head.loss_by_feat(*predictions(head), **images())
        assert 'bboxes' not in head.assigner.seen[0][0]

    @pytest.mark.parametrize(
        'options',
        [{}, dict(best_scope='per_level'), dict(ignore_from='pred'), dict(pos_iou_thr=1.1, neg_iou_thr=0.7)],
        ids=lambda options: '-'.join(options) or 'default',
    )
    def test_yolo_assigner(self, options):
        head = single_shot(train_cfg=dict(assigner={**YOLO_ASSIGNER, **options}))
        inputs = images(ignored=[dict(bboxes=[[60.0, 0, 96, 20]]), None])
        losses = head.loss_by_feat(*predictions(head), **inputs)
        # Every box has a prior of its own.
        assert losses['num_pos'] >= 4
        if options.get('pos_iou_thr') == 1.1:
            assert losses['num_pos'] == 4
        total(losses).backward()

    def test_mmdets_target_path_still_works(self):
        head = single_shot()
        anchors, flags = head.get_anchors(SIZES, images()['batch_img_metas'], device='cpu')
        labels, *_, number = head.get_targets(
            anchors, flags, images()['batch_gt_instances'], images()['batch_img_metas']
        )
        assert number == head.loss_by_feat(*predictions(head), **images())['num_pos']
        assert len(labels) == len(SIZES)


class TestDifficultInput:
    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize('gts', [[EMPTY, EMPTY], [GTS[0], EMPTY]], ids=['all', 'one'])
    def test_empty_images(self, name, gts):
        head = single_shot(**LOSSES[name])
        losses = head.loss(features(head), samples(*gts))
        assert all(value.isfinite() for value in losses.values())
        total(losses).backward()
        assert unused(head) == []
        assert all(value.grad.isfinite().all() for value in head.parameters())
        if gts[0] is EMPTY:
            assert losses['loss_bbox'] == 0

    @pytest.mark.parametrize('name', LOSSES)
    def test_a_weight_of_zero_stays_connected(self, name):
        cfg = LOSSES[name]
        cls = dict(cfg['loss_cls'], loss_weight=0.0)
        if name == 'ohem':
            cls = dict(OHEM, loss=dict(SOFTMAX, loss_weight=0.0))
        box = dict(cfg.get('loss_bbox', RETINA['loss_bbox']), loss_weight=0.0)
        head = single_shot(**{**cfg, 'loss_cls': cls, 'loss_bbox': box})
        losses = head.loss(features(head), samples())
        assert losses['loss_cls'] == losses['loss_bbox'] == 0
        total(losses).backward()
        assert unused(head) == []

    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision(self, name, dtype):
        head = single_shot(**LOSSES[name])
        exact = head.loss_by_feat(*predictions(head), **images())
        head = single_shot(**LOSSES[name])
        maps = [[x.detach().to(dtype).requires_grad_() for x in level] for level in predictions(head)]
        losses = head.loss_by_feat(*maps, **images())
        assert losses['loss_cls'].dtype == losses['loss_bbox'].dtype == torch.float32
        for term in ('loss_cls', 'loss_bbox'):
            # What bfloat16 rounds falls into other bins of the density.
            rough = 'ghm' in name and dtype is torch.bfloat16
            assert_close(losses[term], exact[term], rtol=0.5 if rough else 0.05, atol=0.01)
        total(losses).backward()
        assert all(x.grad.isfinite().all() for level in maps for x in level)
        results = head.predict_by_feat(*maps, batch_img_metas=images()['batch_img_metas'])
        assert results[0].bboxes.dtype == torch.float32

    @pytest.mark.parametrize('name', LOSSES)
    def test_autocast(self, name):
        head = single_shot(**LOSSES[name])
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = head.loss(features(head), samples())
            assert head(features(head))[0][0].dtype == torch.bfloat16
        assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
        total(losses).backward()
        assert all(value.grad.isfinite().all() for value in head.parameters())

    def test_double_passes_through(self):
        head = single_shot()
        maps = [[x.detach().double().requires_grad_() for x in level] for level in predictions(head)]
        losses = head.loss_by_feat(*maps, **images())
        assert losses['loss_cls'].dtype == losses['loss_bbox'].dtype == torch.float64

    def test_huge_half_predictions(self):
        """A float16 sum of one map would overflow, and inf * 0 is not a number."""
        head = single_shot(loss_cls=FOCAL)
        maps = [[torch.full_like(x, 60.0).half().requires_grad_() for x in level] for level in predictions(head)]
        losses = head.loss_by_feat(*maps, **images(EMPTY, EMPTY))
        assert losses['loss_bbox'] == 0
        assert losses['loss_cls'].isfinite()

    @pytest.mark.parametrize('name', ['focal', 'ciou'])
    def test_boxes_without_extent(self, name):
        head = single_shot(**LOSSES[name], train_cfg=dict(assigner=YOLO_ASSIGNER))
        flat = dict(bboxes=[[20.0, 20, 20, 44], [50, 30, 80, 30], [8, 8, 8, 8]], labels=[0, 1, 2])
        maps = predictions(head, 1)
        losses = head.loss_by_feat(*maps, **images(flat))
        assert losses['loss_bbox'].isfinite()
        total(losses).backward()
        assert all(x.grad.isfinite().all() for level in maps for x in level)

    def test_bad_ground_truth_names_its_image(self):
        head = single_shot()
        for wrong in (dict(GTS[1], labels=[3]), dict(GTS[1], bboxes=[[50.0, 20, float('nan'), 50]])):
            with pytest.raises(ValueError, match=r'SingleShotHead: image image_1\.png has the'):
                head.loss_by_feat(*predictions(head), **images(GTS[0], wrong))

    def test_no_anchor_fits(self):
        head = single_shot(train_cfg=dict(RETINA['train_cfg'], allowed_border=0))
        with pytest.raises(ValueError, match=r'no anchor lies inside of image image_0\.png of shape \(4, 4\)'):
            head.loss_by_feat(
                *predictions(head, 1),
                **{**images(EMPTY), 'batch_img_metas': images(EMPTY, shape=(4, 4))['batch_img_metas']},
            )


class TestPredict:
    def test_no_detections(self):
        head = single_shot()
        for with_nms in (True, False):
            results = head.predict_by_feat(
                *head(features(head)), batch_img_metas=images()['batch_img_metas'], rescale=True, with_nms=with_nms
            )
            assert [tuple(result.bboxes.shape) for result in results] == [(0, 4)] * 2
            assert [tuple(result.labels.shape) for result in results] == [(0,)] * 2

    def test_rescale(self):
        head = single_shot()
        maps = predictions(head, spread=2.0)
        metas = images()['batch_img_metas']
        plain, scaled = (head.predict_by_feat(*maps, batch_img_metas=metas, rescale=rescale)[0] for rescale in (0, 1))
        assert len(plain) > 5
        assert_close(scaled.bboxes, plain.bboxes / torch.tensor([2.0, 0.5, 2.0, 0.5]))

    def test_without_a_scale(self):
        head, metas = single_shot(), [dict(img_path='a.png', img_shape=SHAPE)] * 2
        with pytest.raises(ValueError, match=r'SingleShotHead: image a\.png has no scale_factor'):
            head.predict_by_feat(*predictions(head), batch_img_metas=metas, rescale=True)

    def test_without_test_cfg(self):
        head = single_shot(test_cfg=None)
        with pytest.raises(ValueError, match='SingleShotHead: prediction needs test_cfg'):
            head.predict_by_feat(*predictions(head), batch_img_metas=images()['batch_img_metas'])


@pytest.mark.parametrize(
    ('name', 'assigner'),
    [
        ('focal', MAX_IOU),
        ('ohem', MAX_IOU),
        ('ciou', YOLO_ASSIGNER),
    ],
    ids=lambda value: value if isinstance(value, str) else value['type'],
)
def test_descent_finds_the_truth(name, assigner):
    train_cfg = dict(RETINA['train_cfg'], assigner=assigner)
    assert_found(descend(single_shot(**LOSSES[name], train_cfg=train_cfg)))


class TestStructure:
    def test_levels_share_weights(self):
        head = single_shot()
        assert len(head.predictors) == 1
        feats = features(head, 1)
        small = feats[0][..., : SIZES[2][0], : SIZES[2][1]]
        assert_close(head([small, feats[1], small])[0][0], head([small, feats[1], small])[0][2])

    def test_levels_of_their_own(self):
        head = single_shot(share_levels=False)
        assert len(head.predictors) == 3
        losses = head.loss(features(head), samples())
        total(losses).backward()
        assert unused(head) == []

    def test_yolact(self):
        head = single_shot(stacked_convs=0, shared_convs=2, norm_cfg=dict(type='GN', num_groups=2), act_cfg=None)
        predictor = head.predictors[0]
        assert len(predictor.shared_convs) == 2
        assert len(predictor.cls_convs) == len(predictor.reg_convs) == 0
        assert not predictor.shared_convs[0].with_activation

    def test_from_scratch_defaults(self):
        head = MODELS.build(dict(type='SingleShotHead', num_classes=2, in_channels=4))
        assert not hasattr(head, 'assigner')
        assert head.cls_out_channels == 2

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(in_channels=(8, 8)), r'in_channels=\(8, 8\) names 2 levels, the anchor generator has 3'),
            (dict(in_channels=(8, 8, 4), share_levels=True), 'share_levels=True needs levels of one kind'),
            (dict(SSD, in_channels=8), r'they have \[8, 8, 8\] channels and \[4, 6, 4\] anchors'),
            (dict(stacked_convs=-1), 'stacked_convs must be an integer of at least 0, got -1'),
            (dict(shared_convs=1.5), r'shared_convs must be an integer of at least 0, got 1\.5'),
            (dict(cls_prior=1.0), r'cls_prior is a probability between 0 and 1, got 1\.0'),
            (dict(small_obj_weight='area'), r"small_obj_weight='area', allowed are \(None, '2-area'\)"),
            (dict(focal_gamma=-1), 'focal_gamma must be at least 0, got -1'),
            (dict(loss_cls=dict(SOFTMAX, reduction='none')), "loss_cls has reduction='none', needed is 'mean'"),
            (dict(loss_bbox=dict(type='L1Loss', reduction='sum')), "loss_bbox has reduction='sum', needed is 'mean'"),
            (dict(loss_cls=dict(type='GHMCLoss', scope='level')), "loss_cls has scope='level', but is called once"),
            (dict(loss_cls=dict(type='VarifocalLoss')), 'loss_cls=VarifocalLoss wants soft targets, .* gets labels'),
            (dict(loss_cls=dict(type='QualityFocalLoss')), 'loss_cls=QualityFocalLoss wants soft targets'),
            (
                dict(train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9))),
                r'ATSSAssigner\.assign takes pred_instances, num_level_priors, gt_instances, but this head gives',
            ),
            (
                dict(
                    train_cfg=dict(
                        assigner=MAX_IOU,
                        sampler=dict(type='RandomSampler', num=4, pos_fraction=1, add_gt_as_proposals=True),
                    )
                ),
                'RandomSampler adds ground truth to the priors',
            ),
        ],
    )
    def test_bad_options(self, changes, message):
        with pytest.raises(ValueError, match=f'SingleShotHead: .*{message}'):
            single_shot(**changes)

    @pytest.mark.parametrize('name', ['CompleteIoULoss', 'GIoULoss'])
    def test_a_loss_of_boxes_wants_boxes(self, name):
        with pytest.warns(UserWarning, match=f'SingleShotHead: loss_bbox={name} compares .*set reg_decoded_bbox=True'):
            single_shot(loss_bbox=dict(type=name))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            single_shot(loss_bbox=dict(type=name), reg_decoded_bbox=True)
            single_shot(loss_bbox=dict(type='L1Loss'))

    def test_bad_maps(self):
        head = single_shot()
        with pytest.raises(ValueError, match='2 feature maps, but anchors for 3 levels'):
            head(features(head)[:2])
