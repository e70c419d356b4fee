"""How relation features join the features of the box they belong to."""

import torch
from torch import Tensor, nn

FUSIONS = ('concat', 'add', 'gate')


class RelationFusion(nn.Module):
    """`concat`: [f, r]; `add`: f + P r; `gate`: f + g * P r with a learnt gate per channel.

    `P` (add) and `g` (gate) start at zero: a head begins as the plain one and opens up as far as relations help.

    Args:
        fusion: one of `FUSIONS`.
        in_channels: D, width of the box features.
        relation_channels: E, width of the relation features; `'add'` wants E = D.
        dropout: probability that a channel of the relation features is left out of a training step, for every box anew:
            a head with few images to learn from must not lean on single channels.

    Attributes:
        closed_by: names of the parameters that, at zero, keep the relation out.
    """

    def __init__(self, fusion: str, in_channels: int, relation_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fusion = fusion
        self.closed_by: tuple[str, ...] = {'concat': (), 'add': ('project.weight', 'project.bias'), 'gate': ('gate',)}[
            fusion
        ]
        self.out_channels = in_channels + relation_channels if fusion == 'concat' else in_channels
        if fusion == 'add' and relation_channels != in_channels:
            raise ValueError(
                f"fusion='add' needs equal widths: the box features have {in_channels}, the relations "
                f"{relation_channels}; set out_channels={in_channels} in the relation, or use fusion='gate' or 'concat'"
            )
        self.dropout = nn.Dropout(dropout)
        if fusion != 'concat':
            self.project = nn.Linear(relation_channels, in_channels)
        if fusion == 'add':
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)
        if fusion == 'gate':
            self.gate = nn.Parameter(torch.zeros(in_channels))

    def forward(self, feats: Tensor, relation: Tensor) -> Tensor:
        """(N, D), (N, E) -> (N, out_channels)."""
        relation = self.dropout(relation)
        if self.fusion == 'concat':
            return torch.cat([feats, relation.to(feats.dtype)], dim=1)
        update = self.project(relation)
        return feats + (self.gate * update if self.fusion == 'gate' else update)
