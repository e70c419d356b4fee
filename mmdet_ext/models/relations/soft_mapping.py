"""The control of every category graph: class scores times projected classifier weights, no graph, no attention."""

from typing import Any

from mmdet.registry import MODELS

from .category_graph import CategoryGraphRelation


@MODELS.register_module()
class SoftMappingRelation(CategoryGraphRelation):
    """`f'_n = softmax(logits_n) act(M W)`: :class:`CategoryGraphRelation` without graph and image attention.

    Args:
        in_channels: D.
        out_channels: E.
        kwargs: any option of :class:`CategoryGraphRelation` but `graph`, `attention`, `learnable` and `edge_norm`.
    """

    def __init__(self, in_channels: int, out_channels: int = 256, **kwargs: Any) -> None:
        super().__init__(in_channels, graph='none', out_channels=out_channels, attention=None, **kwargs)
