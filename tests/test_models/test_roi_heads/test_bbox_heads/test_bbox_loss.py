"""The loss of a box head: mmdet's numbers on one rank, one rank's numbers on two."""

import pytest
import torch
import torch.distributed as dist
from mmdet.models.losses import CrossEntropyLoss, FocalLoss
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import RelationContext
from mmdet_ext.models.roi_heads.bbox_heads.bbox_loss import bbox_head_loss, loss_factors, weigh_background

from .head_case import DECODED, NUM_CLASSES, PLAIN, TRAIN_CFG, make_rois, make_samples

# By hand, of the input in `test_expected_values`.
EXPECTED_CLS = 1.52266637
EXPECTED_BBOX = 2.45830277

HEADS = {
    'plain': {},
    'agnostic': dict(reg_class_agnostic=True),
    'decoded': DECODED,
    'decoded_per_class': dict(DECODED, reg_class_agnostic=False),
    'smooth': dict(loss_bbox=dict(type='SmoothL1Loss', beta=0.5, loss_weight=2.0)),
    'weighted': dict(loss_cls=dict(type='CrossEntropyLoss', class_weight=[1, 2, 3, 0.2])),
}


def build(name='plain', **changes):
    return MODELS.build({**PLAIN, **HEADS[name], **changes}).double()


def inputs(head, counts=(6, 4), positives=(2, 3), seed=0):
    """Scores, deltas, RoIs and the targets that mmdet makes."""
    torch.manual_seed(seed)
    _, ctx = make_rois(counts)
    targets = head.get_targets(make_samples(ctx, positives), TRAIN_CFG)
    number = sum(counts)
    scores = torch.randn(number, NUM_CLASSES + 1, dtype=torch.float64, requires_grad=True)
    width = 4 if head.reg_class_agnostic else 4 * NUM_CLASSES
    deltas = (torch.randn(number, width, dtype=torch.float64) / 4).requires_grad_()
    rois = ctx.rois.double()
    return scores, deltas, rois, [x.double() if x.is_floating_point() else x for x in targets]


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('positives', [(2, 3), (0, 0), (6, 4)])
def test_equals_mmdet(name, positives):
    head = build(name)
    scores, deltas, rois, targets = inputs(head, positives=positives)
    ours, theirs = bbox_head_loss(head, scores, deltas, rois, *targets), head.loss(scores, deltas, rois, *targets)
    assert ours.keys() == theirs.keys() == {'loss_cls', 'loss_bbox', 'acc'}
    assert_close(ours['acc'], theirs['acc'])
    for key in ('loss_cls', 'loss_bbox'):
        assert_close(ours[key], theirs[key])
        assert_close(
            torch.autograd.grad(ours[key], scores if key == 'loss_cls' else deltas, retain_graph=True),
            torch.autograd.grad(theirs[key], scores if key == 'loss_cls' else deltas, retain_graph=True),
        )


def test_ignored_rois_do_not_count():
    head = build()
    scores, deltas, rois, (labels, label_weights, *boxes) = inputs(head)
    label_weights[-4:] = 0
    ours = bbox_head_loss(head, scores, deltas, rois, labels, label_weights, *boxes)
    expected = torch.nn.functional.cross_entropy(scores[:-4], labels[:-4])
    assert_close(ours['loss_cls'], expected)


def test_expected_values():
    head = MODELS.build(PLAIN)
    # No random numbers: those differ between versions of torch.
    boxes = torch.tensor([[10.0, 10, 50, 40], [20, 8, 44, 60], [0, 0, 30, 30], [60, 60, 90, 90]])
    ctx = RelationContext(boxes, torch.nn.functional.pad(boxes, (1, 0)), torch.tensor([[96, 128]]))
    samples = make_samples(ctx, (2,))
    samples[0].pos_gt_bboxes = boxes[:2] + torch.tensor([[2.0, -3, 4, 5]])
    targets = head.get_targets(samples, TRAIN_CFG)
    scores = torch.linspace(-2, 3, 16).view(4, 4).sin()
    deltas = torch.linspace(-1, 1, 48).view(4, 12)
    losses = bbox_head_loss(head, scores, deltas, ctx.rois, *targets)
    assert losses['loss_cls'].item() == pytest.approx(EXPECTED_CLS, rel=1e-5)
    assert losses['loss_bbox'].item() == pytest.approx(EXPECTED_BBOX, rel=1e-5)


def test_without_rois():
    head = build()
    scores = torch.zeros(0, NUM_CLASSES + 1, requires_grad=True)
    deltas = torch.zeros(0, 4 * NUM_CLASSES, requires_grad=True)
    empty = torch.zeros(0, 4)
    losses = bbox_head_loss(
        head, scores, deltas, torch.zeros(0, 5), torch.zeros(0, dtype=torch.long), torch.zeros(0), empty, empty
    )
    assert losses['loss_cls'] == losses['loss_bbox'] == 0
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    assert scores.grad is not None
    assert deltas.grad is not None
    assert losses['acc'].shape == (1,)


@pytest.mark.parametrize('counts', [(6, 4), (0,)])
def test_without_boxes_the_scores_learn_the_same(counts):
    head = build()
    scores, deltas, rois, targets = inputs(head, counts, [min(count, 2) for count in counts])
    losses = bbox_head_loss(head, scores, deltas, rois, *targets)
    losses.pop('loss_bbox')
    assert_close(bbox_head_loss(head, scores, None, rois, *targets), losses)


def test_given_factors_are_used():
    head = build()
    scores, deltas, rois, targets = inputs(head)
    assert_close(loss_factors(*targets[:2]), torch.tensor([10.0, 10.0]))
    losses = bbox_head_loss(head, scores, deltas, rois, *targets)
    halves = bbox_head_loss(head, scores, deltas, rois, *targets, factors=torch.tensor([20.0, 40.0]))
    assert_close(halves['loss_cls'], losses['loss_cls'] / 2)
    assert_close(halves['loss_bbox'], losses['loss_bbox'] / 4)


def test_factors_count_weighted_rois_and_are_never_zero():
    labels, weights = torch.tensor([0, 1, 3]), torch.tensor([0.5, 0.0, 2.0])
    assert loss_factors(labels, weights).tolist() == [2, 3]
    assert loss_factors(labels[:0], weights[:0]).tolist() == [1, 1]


class TestBackgroundWeight:
    def test_config(self):
        given = dict(type='CrossEntropyLoss', loss_weight=2.0)
        expected = dict(given, class_weight=[1.0, 1.0, 0.5])
        assert weigh_background(given, 0.5, 2) == expected
        assert 'class_weight' not in given
        assert weigh_background(dict(given, type=CrossEntropyLoss), 0.5, 2)['type'] is CrossEntropyLoss
        assert weigh_background(None, 0.5, 2) == dict(expected, loss_weight=1.0, use_sigmoid=False)

    @pytest.mark.parametrize('kind', ['SeesawLoss', 'FocalLoss', 'mmdet.FocalLoss', FocalLoss])
    def test_a_loss_without_class_weights(self, kind):
        with pytest.raises(ValueError, match=r'bg_weight needs a loss_cls that takes class_weight, .*Loss does not'):
            weigh_background(dict(type=kind), 0.5, 2)

    @pytest.mark.parametrize('cfg', [dict(type='NoSuchLoss'), dict(loss_weight=2.0)])
    def test_the_registry_speaks_of_unknown_losses(self, cfg):
        with pytest.raises(KeyError, match=r'NoSuchLoss|"type"'):
            MODELS.build(weigh_background(cfg, 0.5, 2))


def test_a_loss_with_an_activation_of_its_own():
    head = MODELS.build({**PLAIN, 'loss_cls': dict(type='SeesawLoss', num_classes=NUM_CLASSES, p=0.8, q=2.0)})
    _, deltas, rois, targets = inputs(head)
    scores = torch.randn(10, NUM_CLASSES + 2)
    rows = [x.float() if x.is_floating_point() else x for x in targets]
    torch.manual_seed(0)
    head.loss_cls.cum_samples.zero_()
    ours = bbox_head_loss(head, scores, deltas.float(), rois.float(), *rows)
    head.loss_cls.cum_samples.zero_()
    theirs = head.loss(scores, deltas.float(), rois.float(), *rows)
    assert ours.keys() == theirs.keys()
    assert_close(ours, theirs)


def test_half_precision_scores_are_counted_exactly():
    head = build()
    scores, deltas, rois, targets = inputs(head, counts=(1001, 300), positives=(1, 0))
    exact = bbox_head_loss(head, scores, deltas, rois, *targets)
    factors = []
    head.loss_cls.forward = lambda *args, avg_factor, **kwargs: factors.append(avg_factor) or args[0].sum()
    bbox_head_loss(head, scores.bfloat16(), deltas.bfloat16(), rois, *targets)
    assert factors[0] == 1301
    assert exact['loss_cls'].isfinite()


SPLITS = {
    'even': [dict(counts=(6, 4), positives=(2, 3)), dict(counts=(5, 5), positives=(1, 0))],
    'uneven': [dict(counts=(12, 1), positives=(4, 1)), dict(counts=(2,), positives=(0,))],
    'empty': [dict(counts=(6, 4), positives=(2, 3)), dict(counts=(0,), positives=(0,))],
}


# GHM counts over all ranks: one without RoIs has to take part.
LOSSES = {
    'cross entropy and L1': {},
    'GHM': dict(loss_cls=dict(type='GHMCLoss', bins=5, use_sigmoid=False), loss_bbox=dict(type='GHMRLoss', bins=5)),
}
CASES = [(split, losses) for split in SPLITS for losses in LOSSES]


def one_rank(split, losses, rank=None):
    """Gradients of the scores and deltas of both parts, or of one part alone."""
    head = build(**LOSSES[losses])
    parts = [inputs(head, **part, seed=seed) for seed, part in enumerate(SPLITS[split])]
    parts = parts if rank is None else [parts[rank]]
    scores, deltas, rois = (torch.cat([part[i] for part in parts]) for i in range(3))
    targets = [torch.cat(rows) for rows in zip(*(part[3] for part in parts), strict=True)]
    losses = bbox_head_loss(head, scores, deltas, rois, *targets)
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    return [leaf.grad for part in parts for leaf in part[:2]]


def _rank(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    torch.save({case: one_rank(*case, rank) for case in CASES}, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_ranks_equal_one_with_both_batches(tmp_path):
    torch.multiprocessing.spawn(_rank, (f'file://{tmp_path}/meet', str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for case in CASES:
        # DDP averages the gradients of the ranks.
        assert_close([grad / 2 for rank in ranks for grad in rank[case]], one_rank(*case))
