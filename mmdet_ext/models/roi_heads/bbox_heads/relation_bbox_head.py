"""A box head whose RoIs inform each other before they are classified and refined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmdet_ext.models.relations import RelationContext

from .bbox_loss import bbox_head_loss, loss_factors, weigh_background
from .build_relations import build_relations
from .fusion import RelationFusion
from .options import check_options, check_values
from .part_feats import with_part_feats
from .warm_start import WarmStartReport, warm_start


@dataclass
class RelationBBoxResults:
    """Scores (N, C + 1) and box deltas of the enhanced and of the base classifier; losses and maps of the relations."""

    cls_score: Tensor
    bbox_pred: Tensor
    base_cls_score: Tensor | None = None
    base_bbox_pred: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


@MODELS.register_module()
class RelationBBoxHead(ConvFCBBoxHead):
    """Shared convs and fcs, relations, then classifier and regressor on the fused features.

    Part features, where a relation asks for them, take the plain path of shared convs and fcs, together with the RoIs.

    The *base* classifier reads the plain fc path of the same RoIs. It gives the relations class scores and the semantic
    pool, and learns with losses of its own (`loss_cls_base`, `loss_bbox_base`), so the enhanced head never sees scores
    of other RoIs than its own.

    Deviations from mmdet's `BBoxHead`: losses are normalised by the mean over all ranks; a rank without positives keeps
    `loss_bbox` connected at zero; no host sync but those of mmdet's losses, see :func:`.bbox_loss.bbox_head_loss`.

    Args:
        relations: a relation, or a list of them, which then stand side by side (`RelationParallel`).
        fusion: `'concat'`, `'add'` (equal widths) or `'gate'`, see :class:`.fusion.RelationFusion`.
        relation_dropout: dropout on the relation features before they join the others, a probability below 1.
        insert: `'after_fcs'`, or `'after_each_fc'`: relations of their own after each shared fc, before its ReLU.
        base_head: with a base classifier.
        base_loss_weight: weight of the base classifier's losses.
        reg_source: `'enhanced'`, or `'base'`: boxes come from the base classifier and no enhanced `fc_reg` exists.
            `loss_bbox_base` is then the loss of the only regressor, which `base_loss_weight` does not scale.
        bg_weight: weight of the background class in both classification losses; not together with `class_weight`, and
            only for losses that take one.
        frozen: names of submodules that do not learn, such as `['shared_fcs', 'base_fc_cls']`: no gradients, and norm
            and dropout layers inside stay as at test time.
        external_scores: class scores and pool come with the context (from the stage before, in a cascade); without
            `base_head`.
        pool_channels: width of the features that the classifier behind the pool reads, for every relation that reads
            the pool and names none of its own; default: the width of the RoI features.
        kwargs: of `ConvFCBBoxHead`; class- or box-specific convs and fcs are refused. Without any shared layer
            (`num_shared_fcs=0, with_avg_pool=True`: C4) relations read the pooled RoI features.

    Attributes:
        warm_start_report: what became of a plain box head's checkpoint, see :mod:`.warm_start`; None before.

    Raises:
        ValueError: options that do not fit together, each with a sentence.
    """

    # Every loss of a classifier is one call for all RoIs, also on a rank without any: GHM losses may count over ranks.
    single_call_losses = True
    # Layers, and None for some; the untyped parent builds the first three.
    shared_fcs: Any
    fc_cls: Any
    fc_reg: Any
    base_fc_cls: Any
    base_fc_reg: Any
    init_cfg: Any

    def __init__(
        self,
        relations: dict | Sequence[dict],
        fusion: str = 'concat',
        relation_dropout: float = 0.0,
        insert: str = 'after_fcs',
        base_head: bool = True,
        base_loss_weight: float = 1.0,
        reg_source: str = 'enhanced',
        bg_weight: float | None = None,
        frozen: Sequence[str] = (),
        external_scores: bool = False,
        pool_channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_options(fusion, insert, base_head, reg_source, external_scores, kwargs)
        check_values(relations, base_loss_weight, bg_weight, frozen, relation_dropout)
        kwargs.setdefault('num_shared_fcs', 2)
        if bg_weight is not None:
            kwargs['loss_cls'] = weigh_background(kwargs.get('loss_cls'), bg_weight, kwargs.get('num_classes', 80))
        if kwargs['num_shared_fcs'] or kwargs.get('num_shared_convs'):
            super().__init__(**kwargs)
        else:
            # The parent wants a layer: it gets one that keeps the width, and is taken out again.
            width = kwargs.get('in_channels', 256)
            super().__init__(**{**kwargs, 'num_shared_fcs': 1, 'fc_out_channels': width})
            self.num_shared_fcs, self.shared_fcs = 0, nn.ModuleList()
        # The parent's works in place: the base path would change what the relations after each fc read.
        self.relu = nn.ReLU()
        self.base_loss_weight, self.reg_source = base_loss_weight, reg_source
        self.external_scores = external_scores
        self.warm_start_report: WarmStartReport | None = None
        width = self.shared_out_channels
        places = 1 if insert == 'after_fcs' else len(self.shared_fcs)
        self.insert = insert
        known = dict(
            pool_channels=width if pool_channels is None else pool_channels,
            part_channels=width,
            num_classes=self.num_classes,
        )
        self.relations = build_relations(relations, places, width, known, base_head or external_scores)
        fusions = [
            RelationFusion(fusion, width, relation.out_channels, relation_dropout) for relation in self.relations
        ]
        self.fusions = ModuleList(fusions)
        self.between = nn.ModuleList(
            nn.Linear(relation.out_channels, fc.out_features, bias=False)
            for relation, fc in zip(self.relations, self.shared_fcs[1:], strict=False)
            if fusion == 'concat' and insert == 'after_each_fc'
        )
        self._build_predictors(fusions[-1].out_channels, base_head, default_init=kwargs.get('init_cfg') is None)
        self.frozen = tuple(frozen)
        self._freeze()

    def _build_predictors(self, fused: int, base_head: bool, default_init: bool) -> None:
        """The parent built `fc_cls` and `fc_reg` on the plain features: these become the base's, wider ones ours."""
        plain_cls, plain_reg = self.fc_cls, self.fc_reg
        self.fc_cls = MODELS.build(
            {**self.cls_predictor_cfg, 'in_features': fused, 'out_features': plain_cls.out_features}
        )
        self.fc_reg = None
        if self.reg_source == 'enhanced':
            self.fc_reg = MODELS.build(
                {**self.reg_predictor_cfg, 'in_features': fused, 'out_features': plain_reg.out_features}
            )
        self.base_fc_cls, self.base_fc_reg = (plain_cls, plain_reg) if base_head else (None, None)
        stds = dict(fc_cls=0.01, fc_reg=0.001, base_fc_cls=0.01, base_fc_reg=0.001)
        built = {name: std for name, std in stds.items() if getattr(self, name) is not None}
        if default_init:
            trunk = [cfg for cfg in self.init_cfg if cfg['type'] != 'Normal']
            self.init_cfg = trunk + [
                dict(type='Normal', std=std, override=dict(name=name)) for name, std in built.items()
            ]

    def _freeze(self) -> None:
        modules = dict(self.named_modules())
        for name in self.frozen:
            if name not in modules or not name:
                raise ValueError(
                    f'RelationBBoxHead: frozen names {name!r}; known are {sorted(dict(self.named_children()))}'
                )
            modules[name].requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'RelationBBoxHead':
        """As of every module, but what is frozen stays as at test time."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Both torch and mmengine hand over a copy, which may be rewritten before the submodules read it.
        self.warm_start_report = warm_start(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def needs(self) -> frozenset[str]:
        """Names of the `RelationContext` fields that the relations cannot do without."""
        return frozenset().union(*(relation.needs for relation in self.relations))

    @property
    def part_splits(self) -> frozenset[tuple[int, int]]:
        """Grids of part cells whose features the relations read, `(1, 1)` for whole parts."""
        return frozenset().union(*(relation.part_splits for relation in self.relations))

    @property
    def has_base_head(self) -> bool:
        """Whether there is a base classifier."""
        return self.base_fc_cls is not None

    def _trunk(self, x: Tensor) -> Tensor:
        for conv in self.shared_convs:
            x = conv(x)
        if self.with_avg_pool:
            x = self.avg_pool(x) if x.numel() else x.mean((-1, -2))
        return x.flatten(1)

    def _plain_path(self, x: Tensor, complete: bool) -> list[Tensor]:
        """Output of each shared fc before its ReLU (of the first one alone unless `complete`); of the trunk if none."""
        x = self._trunk(x)
        outputs = [self.shared_fcs[0](x) if len(self.shared_fcs) else x]
        for fc in self.shared_fcs[1:] if complete else ():
            outputs.append(fc(self.relu(outputs[-1])))
        return outputs

    def forward(
        self,
        x: Tensor,
        ctx: RelationContext | None = None,
        part_feats: Mapping[tuple[int, int], Tensor] | None = None,
    ) -> RelationBBoxResults:
        """Scores and boxes of every RoI.

        Args:
            x: (N, c, h, w) RoI features.
            ctx: context of the same RoIs; `feats` and, of the parts, `feats` and `cell_feats` are filled in here, and
                so are `cls_logits` and `cls_weight` where there is a base classifier.
            part_feats: for every grid of `part_splits`, (B * P * r * c, c, h, w) RoI features of the cells of the
                parts: image by image, part by part, row by row. They wait in `ctx.parts` at the depth of the relation
                that reads them.
        """
        if ctx is None:
            raise ValueError(
                'RelationBBoxHead relates the RoIs of an image and needs to know which they are: use it inside '
                'RelationRoIHead, which passes a RelationContext'
            )
        number, part_feats = x.shape[0], part_feats or {}
        after_each = self.insert == 'after_each_fc'
        rows = torch.cat([x, *part_feats.values()]) if part_feats else x
        levels = self._plain_path(rows, self.has_base_head or bool(part_feats) or not after_each)
        last = self.relu(levels[-1]) if len(self.shared_fcs) else levels[-1]
        contexts = [ctx] * len(self.relations)
        if part_feats:
            sizes = {split: cells.shape[0] for split, cells in part_feats.items()}
            contexts = [with_part_feats(ctx, level[number:], sizes) for level in (levels if after_each else [last])]
        plain = last[:number]
        base_cls: Any = None
        base_reg: Any = None
        if self.has_base_head:
            base_cls, base_reg = self.base_fc_cls(plain), self.base_fc_reg(plain)
            weight = torch.cat([self.base_fc_cls.weight, self.base_fc_cls.bias[:, None]], dim=1)
            contexts = [replace(context, cls_logits=base_cls, cls_weight=weight) for context in contexts]
        losses: dict[str, Tensor] = {}
        maps: dict[str, Tensor] = {}
        fused = self._fuse(0, levels[0][:number] if after_each else plain, contexts[0], losses, maps)
        if after_each:
            fused = self.relu(fused)
            for place, fc in enumerate(self.shared_fcs[1:], start=1):
                hidden = fc(fused[:, : fc.in_features])
                if self.between:
                    hidden = hidden + self.between[place - 1](fused[:, fc.in_features :])
                fused = self.relu(self._fuse(place, hidden, contexts[place], losses, maps))
        bbox_pred = base_reg if self.fc_reg is None else self.fc_reg(fused)
        return RelationBBoxResults(self.fc_cls(fused), bbox_pred, base_cls, base_reg, losses, maps)

    def _fuse(
        self, place: int, feats: Tensor, ctx: RelationContext, losses: dict[str, Tensor], maps: dict[str, Tensor]
    ) -> Tensor:
        out = self.relations[place](replace(ctx, feats=feats))
        prefix = f'{place}.' if len(self.relations) > 1 else ''
        losses.update({f'loss_rel.{prefix}{name}': value for name, value in out.losses.items()})
        maps.update({f'{prefix}{name}': value for name, value in out.maps.items()})
        return self.fusions[place](feats, out.feats)

    def loss(
        self,
        results: RelationBBoxResults,
        rois: Tensor,
        sampling_results: list[SamplingResult],
        rcnn_train_cfg: ConfigDict,
    ) -> dict[str, Tensor]:
        """`loss_cls, loss_bbox, acc` of the enhanced, `loss_cls_base, loss_bbox_base` of the base classifier.

        With `reg_source='base'` there is one regressor, hence `loss_bbox_base` alone, which is not scaled.
        """
        targets: tuple[Tensor, Tensor, Tensor, Tensor] = self.get_targets(sampling_results, rcnn_train_cfg)
        only_base_reg = self.fc_reg is None
        bbox_pred = None if only_base_reg else results.bbox_pred
        # Both classifiers learn from the same targets: counted, and summed over the ranks, once.
        factors = loss_factors(*targets[:2])
        losses = bbox_head_loss(self, results.cls_score, bbox_pred, rois, *targets, factors)
        if results.base_cls_score is not None and results.base_bbox_pred is not None:
            base = bbox_head_loss(self, results.base_cls_score, results.base_bbox_pred, rois, *targets, factors)
            for name, value in base.items():
                # "acc" is a share, not a loss: it is logged under a name of its own and not weighted.
                scaled = 'loss' in name and not (only_base_reg and name == 'loss_bbox')
                losses[f'{name}_base'] = value * self.base_loss_weight if scaled else value
        return {**losses, **results.losses}
