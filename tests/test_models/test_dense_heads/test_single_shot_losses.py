"""Both terms against sums over single priors."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from .dense_case import CIOU, EMPTY, GTS, NUM_CLASSES, SHAPE, SOFTMAX, images, predictions, single_shot

OPTIONS = {
    'plain': {},
    'small': dict(small_obj_weight='2-area'),
    'small_boxes': dict(small_obj_weight='2-area', small_obj_on_cls=False),
    'focal': dict(focal_on_bbox=True, focal_gamma=1.0),
    'both': dict(small_obj_weight='2-area', focal_on_bbox=True),
}
BINARY = dict(type='CrossEntropyLoss', use_sigmoid=True)


def slow_losses(head, cls_scores, bbox_preds, inputs, decoded):
    """One prior after the other; the matching is the head's."""
    width = head.cls_out_channels
    logits = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, width) for x in cls_scores], dim=1)
    deltas = torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in bbox_preds], dim=1)
    targets = head.match([x.shape[-2:] for x in cls_scores], deltas.detach(), **inputs)
    rows = {index: i for i, index in enumerate(targets.pos_inds.tolist())}
    cls = box = 0
    for i in range(len(logits)):
        for j, label in enumerate(targets.labels[i].tolist()):
            if targets.label_weights[i, j] == 0:
                continue
            row, scale = rows.get(i * logits.shape[1] + j), 1.0
            if head.use_sigmoid_cls:
                goal = F.one_hot(torch.tensor(label), NUM_CLASSES + 1)[:NUM_CLASSES].float()
                own = F.binary_cross_entropy_with_logits(logits[i, j], goal, reduction='sum')
                scores = logits[i, j].sigmoid()
            else:
                own, scores = -logits[i, j].log_softmax(0)[label], logits[i, j].softmax(0)
            if row is not None:
                prior, gt = targets.pos_priors[row][None], targets.pos_gt_bboxes[row][None]
                if head.small_obj_weight:
                    scale = 2 - float((gt[0, 2:] - gt[0, :2]).prod()) / (SHAPE[0] * SHAPE[1])
                own = own * (scale if head.small_obj_on_cls else 1)
                focus = (1 - scores[label].detach()) ** head.focal_gamma if head.focal_on_bbox else 1
                pred = deltas[i, j][None]
                pred, gt = (
                    (head.bbox_coder.decode(prior, pred), gt) if decoded else (pred, head.bbox_coder.encode(prior, gt))
                )
                box = box + head.loss_bbox(pred, gt, reduction_override='sum') * scale * focus
            cls = cls + own
    return dict(loss_cls=cls / len(rows), loss_bbox=box / len(rows))


@pytest.mark.parametrize('name', OPTIONS)
@pytest.mark.parametrize('loss_cls', [SOFTMAX, BINARY], ids=['softmax', 'sigmoid'])
@pytest.mark.parametrize('decoded', [False, True])
def test_equals_a_slow_reference(name, loss_cls, decoded):
    boxes = dict(loss_bbox=CIOU, reg_decoded_bbox=True) if decoded else {}
    generator = dict(
        type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]
    )
    head = single_shot(loss_cls=loss_cls, anchor_generator=generator, **boxes, **OPTIONS[name])
    maps, inputs = predictions(head, 3), images(*GTS, EMPTY)
    losses, expected = head.loss_by_feat(*maps, **inputs), slow_losses(head, *maps, inputs, decoded)
    for (term, value), leaves in zip(expected.items(), maps, strict=True):
        assert_close(losses[term], value)
        assert_close(
            torch.autograd.grad(losses[term], leaves, retain_graph=True),
            torch.autograd.grad(value, leaves, retain_graph=True),
        )
    assert losses['num_pos'] >= 4
