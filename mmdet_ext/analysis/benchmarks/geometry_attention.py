"""Benchmark: attention with geometry against the form of the textbook, which keeps the embedding of every pair."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_ext.models.relations import GeometryAttentionRelation, RelationContext
from mmdet_ext.models.relations.fused_attention import geometry_attention

from .limits import Work

IMAGE = (800, 1333)
WIDTH = 1024
HEADS = 16
NUMBER = 1000


def random_boxes(number: int, generator: torch.Generator) -> Tensor:
    """(number, 4) xyxy boxes of 7 to 400 pixels anywhere in the image."""
    height, width = IMAGE
    centre = torch.rand(number, 2, generator=generator) * torch.tensor([width, height])
    half = torch.exp(torch.rand(number, 2, generator=generator) * 4 + 2) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def textbook_attention(qkv: Sequence[Tensor], boxes: Tensor, layer: torch.nn.Linear) -> Tensor:
    """Equations 2 to 5 of Relation Networks (arXiv:1711.11575), one after the other; autograd keeps what it needs.

    Args:
        qkv: queries and keys (H, N, d), values (H, N, e).
        boxes: (N, 4) xyxy.
        layer: linear layer of the geometry, from the embedding to H heads.

    Returns:
        (H, N, e).
    """
    query, key, value = qkv
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    shift = ((centre[:, None] - centre[None]).abs() / size[:, None]).clamp(min=1e-3).log()
    position = torch.cat([shift, (size[:, None] / size[None]).log()], dim=-1)
    count = layer.in_features // 8
    waves = 100 / 1000 ** (torch.arange(count, device=boxes.device) / count)
    angles = position[..., None] * waves
    embedding = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)
    geometry = F.relu(layer(embedding)).clamp(min=1e-6).log().permute(2, 0, 1)
    scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
    return (scores + geometry).softmax(-1) @ value


def attention_flops(number: int, heads: int, width: int, embedding: int = 64) -> float:
    """Matrix products of one image, forward and backward, when nothing is computed twice.

    Scores and mixing are 2 N^2 W each, and twice that backward; the geometry layer is 2 N^2 E H, and once more
    backward, because boxes get no gradient.

    Args:
        number: boxes N.
        heads: H.
        width: channels W of queries, keys and values, all heads together.
        embedding: channels E of the embedding of a pair.
    """
    return float(number**2 * (12 * width + 4 * embedding * heads))


class GeometryAttentionCase:
    """The boxes of one image, forward and backward.

    Args:
        projections: the whole relation, with its linear layers to queries, keys and values of 1024 channels, which
            are the same on both sides; no target then.
        number: of boxes; the targets are those of the default.
    """

    sibling: str = 'textbook, keeps (N, N, 64)'
    threads: int | None = 1
    repeats = 20

    def __init__(self, projections: bool = False, number: int = NUMBER) -> None:
        self.projections, self.number = projections, number
        standard = number == NUMBER
        self.name = ('geometry-relation' if projections else 'geometry-attention') + ('' if standard else f'-{number}')
        self.title = f'{self.name}, N = {number}' + (f', with linear layers of {WIDTH}' if projections else '')
        self.speed: float | None = 3.0 if standard and not projections else None
        self.memory: float | None = 1 / 8 if standard and not projections else None

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], dict], Callable[[], dict]]:
        """Ours and the textbook on the same boxes and weights."""
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        relation = GeometryAttentionRelation(WIDTH, heads=HEADS).to(device)
        torch.nn.init.normal_(relation.geometry.weight, std=0.1)
        # Most geometry weights above zero, some below.
        torch.nn.init.constant_(relation.geometry.bias, 0.5)
        boxes = random_boxes(self.number, generator).to(device)
        feats = torch.randn(self.number, WIDTH, generator=generator).to(device).requires_grad_()
        upstream = torch.randn(self.number, WIDTH, generator=generator).to(device)
        if self.projections:
            learnt = {'feats': feats, **dict(relation.named_parameters())}
            rois = torch.cat([boxes.new_zeros(self.number, 1), boxes], dim=1)
            shapes = torch.tensor([IMAGE], device=device)
            ctx = RelationContext(feats=feats, rois=rois, img_shapes=shapes, counts=(self.number,))

            def split(x: Tensor) -> Tensor:
                return x.unflatten(1, (HEADS, -1)).transpose(0, 1)

            def ours() -> Tensor:
                return relation(ctx).feats

            def textbook() -> Tensor:
                layers = (relation.query, relation.key, relation.value)
                qkv = [split(layer(feats)) for layer in layers]
                return textbook_attention(qkv, boxes, relation.geometry).transpose(0, 1).flatten(1)
        else:
            qkv = [torch.randn(self.number, HEADS, 64, generator=generator).to(device) for _ in range(3)]
            learnt = dict(zip(('query', 'key', 'value'), (x.requires_grad_() for x in qkv), strict=True))
            weight, bias = relation.geometry.parameters()
            learnt |= {'weight': weight, 'bias': bias}
            upstream = upstream.view(self.number, HEADS, -1)

            def ours() -> Tensor:
                query, key, value = qkv
                return geometry_attention(query, key, value, boxes, boxes, weight, bias, (self.number,), (self.number,))

            def textbook() -> Tensor:
                heads_first = [x.transpose(0, 1) for x in qkv]
                return textbook_attention(heads_first, boxes, relation.geometry).transpose(0, 1)

        def step(forward: Callable[[], Tensor]) -> dict[str, Tensor]:
            out = forward()
            grads = torch.autograd.grad(out, list(learnt.values()), upstream)
            return {'out': out.detach(), **dict(zip(learnt, grads, strict=True))}

        return lambda: step(ours), lambda: step(textbook)

    def check(self, ours: dict[str, Tensor], sibling: dict[str, Tensor]) -> None:
        """Equal results; gradients of the geometry are sums of a million terms, that of the keys' bias is zero."""
        largest = max(float(value.abs().max()) for value in sibling.values())
        for name, wanted in sibling.items():
            error = float((ours[name] - wanted).abs().max()) / max(float(wanted.abs().max()), 1e-3 * largest)
            tolerance = 1e-2 if name in ('weight', 'bias') or name.startswith('geometry.') else 1e-3
            if not error < tolerance:
                raise ValueError(f'{self.name}: {name} differs from the textbook by {error:.1e} of its largest value')

    def work(self, ours: Callable[[], dict]) -> Work:
        """See `attention_flops`; the linear layers are three of WIDTH x WIDTH."""
        layers = 3 * 6 * self.number * WIDTH**2 if self.projections else 0
        return Work(flops=attention_flops(self.number, HEADS, WIDTH) + layers)
