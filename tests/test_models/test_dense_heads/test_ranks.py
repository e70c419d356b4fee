"""Two gloo ranks under DDP equal one rank with the images of both, whatever the images hold."""

from itertools import chain

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from .dense_case import CIOU, EMPTY, FACE, GTS, OHEM, RETINA, SSD, YOLO, build, face, features, images, total

# One process makes what the tests of this file share.
pytestmark = pytest.mark.xdist_group('dense_ranks')

GHM = dict(loss_cls=dict(type='GHMCLoss', momentum=0.5), loss_bbox=dict(type='GHMRLoss', momentum=0.5))
YOLO_ASSIGNER = dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
SINGLE = dict(RETINA, type='SingleShotHead', small_obj_weight='2-area')
HEADS = {
    'focal': SINGLE,
    'ghm': {**SINGLE, **GHM},
    'ohem': dict(SSD, type='SingleShotHead', loss_cls=OHEM, loss_bbox=CIOU, reg_decoded_bbox=True),
    'face': FACE,
    'yolo': dict(YOLO, level_weights=(0.4, 1.0, 4.0), obj_target='ciou', train_cfg=dict(assigner=YOLO_ASSIGNER)),
    'yolo_ghm': dict(YOLO, loss_conf=dict(type='GHMCLoss', momentum=0.5)),
}
# Boxes, but nothing labelled of their landmarks.
FACELESS = [dict(gts, keypoints=[face([0] * 4, [0] * 5)] * len(gts['labels'])) for gts in GTS]
SPLITS = {
    'even': [GTS, GTS[::-1]],
    'uneven': [[GTS[0], GTS[1], EMPTY], [GTS[1]]],
    'one_box': [[EMPTY], [GTS[1]]],
    'one_empty': [GTS, [EMPTY, EMPTY]],
    'all_empty': [[EMPTY], [EMPTY]],
    'one_faceless': [FACELESS, [GTS[1]]],
}


class LossOf(torch.nn.Module):
    """The forward pass that DDP wraps."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, feats, inputs):
        return self.head.loss_by_feat(*self.head(feats), **inputs)


def step(head, feats, gts, wrap):
    """The losses of one batch, and the gradients of the second step on it: DDP looks for unused parameters there."""
    model = LossOf(head)
    model = DistributedDataParallel(model) if wrap else model
    for _ in range(2):
        head.zero_grad()
        losses = model(feats, images(*gts))
        total(losses).backward()
    return {name: value.detach() for name, value in losses.items()}, [value.grad for value in head.parameters()]


def run(name, split, rank=None):
    """That part of the images, or all of them."""
    torch.manual_seed(0)
    head, parts = build(HEADS[name]), SPLITS[split]
    for value in head.parameters():
        torch.nn.init.normal_(value, std=0.1)
    feats = [features(head, len(gts), seed) for seed, gts in enumerate(parts)]
    if rank is not None:
        return step(head, feats[rank], parts[rank], wrap=True)
    return step(head, [torch.cat(level) for level in zip(*feats, strict=True)], list(chain(*parts)), wrap=False)


def _rank(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    torch.save({(name, split): run(name, split, rank) for name in HEADS for split in SPLITS}, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    torch.multiprocessing.spawn(_rank, (f'file://{folder}/meet', str(folder)), nprocs=2)
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('name', HEADS)
def test_two_ranks_equal_one_with_both_batches(ranks, name, split):
    (first, grads), (second, others) = (rank[name, split] for rank in ranks)
    losses, expected = run(name, split)
    assert all(value.isfinite() for value in losses.values())
    # DDP has averaged the gradients, so both ranks have the same ones.
    assert_close(grads, others)
    assert_close(grads, expected, rtol=1e-4, atol=1e-6)
    for term, value in losses.items():
        mean = (first[term] + second[term]) / 2
        assert_close(mean, value / 2 if term.startswith('num') else value, rtol=1e-4, atol=1e-6)
        if term.startswith('num'):
            assert first[term] == second[term]
