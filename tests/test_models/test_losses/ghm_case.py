"""What the tests of the GHM losses share: inputs, and both losses written bin by bin."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F


def slow_ghm(g, loss, bins, weight=None, density=None, all_bins=False):
    """beta * weight * loss of flat entries and their number, straight from the paper, one bin after the other."""
    weight = torch.ones_like(loss) if weight is None else weight
    edges = [k / bins for k in range(bins)] + [math.inf]
    members = [(g >= low) & (g < high) & (weight > 0) for low, high in pairwise(edges)]
    total = sum(int(member.sum()) for member in members)
    filled = [k for k in range(bins) if members[k].any()]
    beta = torch.zeros_like(loss)
    for k in filled:
        here = float(members[k].sum()) if density is None else density[k]
        beta[members[k]] = total / here / (bins if all_bins else len(filled))
    return beta * weight * loss, total


def slow_ghm_c(pred, target, bins, weight=None, **options):
    """The mean with sigmoid; dense targets and weights."""
    g = (pred.sigmoid() - target).abs().detach()
    loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
    terms, total = slow_ghm(g, loss, bins, weight, **options)
    return terms.sum() / max(total, 1)


def one_hot(labels, columns):
    return F.one_hot(labels.clamp(0, columns), columns + 1)[:, :columns].double()


def make_scores(rows=200, columns=4, seed=0, dtype=torch.float64):
    """Logits over all bins, labels with background, weights 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    pred = (torch.randn(rows, columns, generator=generator, dtype=torch.float64) * 3).to(dtype).requires_grad_()
    labels = torch.randint(0, columns + 1, (rows,), generator=generator)
    weight = (torch.rand(rows, generator=generator) < 0.8).to(dtype)
    return pred, labels, weight


def make_boxes(rows=200, seed=0, dtype=torch.float64):
    """Encoded boxes from nearly right to far off, targets, weights of positives."""
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randn(rows, 4, generator=generator, dtype=torch.float64) / 20
    pred = (pred * torch.rand(rows, 1, generator=generator) ** 3).to(dtype).requires_grad_()
    weight = (torch.rand(rows, 1, generator=generator) < 0.5).to(dtype).expand(rows, 4)
    return pred, torch.zeros_like(pred), weight
