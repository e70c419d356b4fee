"""A relation box head takes over the weights of a plain one, and begins as its equal.

Whatever lets relations in starts at zero: the columns of the predictors that read relation features (concat), the
projection (add), the gate (gate). So the first logits are those of the plain detector, and training goes on from there.
Only a predictor that scales with its whole input (`NormedLinear`) feels the new columns at once; the report says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from mmengine.logging import print_log
from tabulate import tabulate
from torch import Tensor, nn

if TYPE_CHECKING:
    from .relation_bbox_head import RelationBBoxHead

PREDICTORS = ('fc_cls', 'fc_reg')
# Layers of mmdet's box heads, from `BBoxHead` to `ConvFCBBoxHead`; a state with any other is not of a plain head.
TRUNK = ('shared_convs', 'shared_fcs', 'cls_convs', 'cls_fcs', 'reg_convs', 'reg_fcs')
NEW = 'not in a plain head'
PLAIN = (*TRUNK, *PREDICTORS, 'loss_cls', 'loss_bbox')


@dataclass
class WarmStartReport:
    """What became of a plain checkpoint: pairs of key (without the prefix) and what there is to say about it.

    taken: weights of the head that are the checkpoint's.
    widened: weights of the head that are the checkpoint's, with columns of zeros for the relation features.
    zeroed: weights of the head that keep the relations out.
    fresh: weights of the head that stay as they were initialised.
    dropped: weights of the checkpoint that the head has no use for.
    """

    prefix: str = ''
    taken: list[tuple[str, str]] = field(default_factory=list)
    widened: list[tuple[str, str]] = field(default_factory=list)
    zeroed: list[tuple[str, str]] = field(default_factory=list)
    fresh: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        rows: dict[tuple[str, str, str], int] = {}
        for kind in [item.name for item in fields(self)][1:]:
            for key, detail in getattr(self, kind):
                # The many weights of a new relation are one line.
                name = '.'.join(key.split('.')[:2]) + '.*' if detail == NEW else key
                rows[kind, name, detail] = rows.get((kind, name, detail), 0) + 1
        table = [
            (kind, name, f'{detail}, {n} tensors' if n > 1 else detail) for (kind, name, detail), n in rows.items()
        ]
        head = self.prefix.rstrip('.') or 'the box head'
        return f'Warm start of {head} from a plain box head\n{tabulate(table, headers=["what", "weight", "how"])}'


def _shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def is_plain_state(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether `state` is that of a whole plain box head, and not of the head (or part of it) whose state is `own`.

    Args:
        state: names without prefix to weights.
        own: the same of the relation head.
    """
    layers = {key.split('.')[0] for key in state}
    if not {f'{name}.weight' for name in PREDICTORS} <= set(state) or not layers <= set(PLAIN):
        return False
    if not layers & set(TRUNK) and any(key.startswith(TRUNK) for key in own):
        return False
    # A relation without weights leaves no trace in the names.
    return {key: x.shape for key, x in state.items()} != {key: x.shape for key, x in own.items()}


def _why_not(name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], width: int) -> str:
    """Why the predictor of that name cannot be taken from `state`; empty if it can."""
    target = name if f'{name}.weight' in own else f'base_{name}'
    for key in (key for key in own if key.startswith(f'{target}.')):
        wanted = tuple(own[key].shape)
        wanted = (wanted[0], width) if key == f'{target}.weight' else wanted
        source = key.removeprefix('base_')
        given = state.get(source)
        if given is None or tuple(given.shape) != wanted:
            found = 'missing' if given is None else _shape(given)
            return f'{source} is {found} in the checkpoint where {wanted} would fit'
    return ''


def warm_start_state(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], width: int, zeroed: Collection[str]
) -> tuple[dict[str, Tensor], WarmStartReport]:
    """The state of a relation head that begins as the plain head of `state`.

    Predictors are taken only with all the layers before them: what they learnt means nothing on other features.

    Args:
        state: of the plain head, names without prefix.
        own: of the relation head; where the plain head has nothing to give, its weights stay.
        width: of the features that the plain predictors read.
        zeroed: names of the weights that must be zero to keep the relations out.

    Returns:
        A tensor for every name of `own`, and the report (without prefix).
    """
    report, new = WarmStartReport(), dict(own)
    fits = {key for key, x in state.items() if key in own and x.shape == own[key].shape}
    trunk = [key for key in (*own, *state) if key.startswith(TRUNK)]
    misfit = next((key for key in trunk if key not in fits), None)
    why = {
        name: f'it reads {misfit}, which does not fit' if misfit else _why_not(name, state, own, width)
        for name in PREDICTORS
    }
    used = set()
    for key, mine in own.items():
        source = key.removeprefix('base_')
        layer = source.split('.')[0]
        given = state.get(source)
        if key in zeroed:
            new[key] = mine.new_zeros(mine.shape)
            report.zeroed.append((key, _shape(mine)))
        elif layer not in PLAIN:
            report.fresh.append((key, NEW))
        elif why.get(layer):
            report.fresh.append((key, why[layer]))
        elif given is None:
            report.fresh.append((key, 'not in the checkpoint'))
        elif given.shape == mine.shape:
            # Two layers must not share a tensor: `load_state_dict(assign=True)` would tie them for good.
            new[key] = given if key == source else given.clone()
            used.add(source)
            report.taken.append((key, _shape(given) if key == source else f'{_shape(given)} of {source}'))
        elif layer in PREDICTORS:
            new[key] = F.pad(given, (0, mine.shape[1] - given.shape[1]))
            used.add(source)
            report.widened.append((key, f'{_shape(given)} to {_shape(mine)}'))
        else:
            report.fresh.append((key, f'{_shape(given)} in the checkpoint where {_shape(mine)} would fit'))
    for key in (key for key in state if key not in used):
        reason = why.get(key.split('.')[0]) or (
            f'the head has {_shape(own[key])}' if key in own else 'the head has no such layer'
        )
        report.dropped.append((key, f'{_shape(state[key])}: {reason}'))
    return new, report


def warm_start(head: 'RelationBBoxHead', state_dict: dict[str, Any], prefix: str) -> WarmStartReport | None:
    """Rewrite the part of `state_dict` below `prefix` for `head`, where it is the state of a plain box head.

    Args:
        head: that is about to load.
        state_dict: changed in place.
        prefix: of the names of the head's weights, such as `'roi_head.bbox_head.'`.

    Returns:
        The report, which is logged too; None where the state is of no plain head and left as it is.
    """
    state = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    own = head.state_dict()
    if not is_plain_state(state, own):
        return None
    zeroed = {f'fusions.{i}.{name}' for i, fusion in enumerate(head.fusions) for name in fusion.closed_by}
    zeroed |= {key for key in own if key.startswith('between.')}
    new, report = warm_start_state(state, own, head.shared_out_channels, zeroed)
    report.prefix = prefix
    for place, (key, detail) in enumerate(report.widened):
        kind = type(head.get_submodule(key.split('.')[0]))
        if kind is not nn.Linear:
            note = (
                f'{detail}; {kind.__name__} scales with its whole input: the first logits are not quite the plain ones'
            )
            report.widened[place] = (key, note)
    for key in state:
        del state_dict[prefix + key]
    state_dict.update({prefix + key: value for key, value in new.items()})
    # A checkpoint may be loaded twice, to see whether it fits and for good: said once.
    if str(report) != str(head.warm_start_report):
        print_log(str(report), logger='current')
    return report
