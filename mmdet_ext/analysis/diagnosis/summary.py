"""`summary.json`: the verdicts in order, and every figure behind them, as plain JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from mmdet_ext.analysis.plain_values import plain

from .evidence import Evidence, SplitEvidence
from .verdict import Verdict

# Long arrays of single images; `per_image.csv` has what people want of them.
_LONG = ('image_pixels', 'object_sizes', 'input_shapes', 'ori_shapes', 'digests')


def summarise(evidence: Evidence, verdicts: Sequence[Verdict], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is known.

    Args:
        evidence: What the rules read.
        verdicts: In order.
        facts: How it was made: config, checkpoint, command, versions and so on; put in front.
    """
    judged = evidence.judged
    summary = {
        **facts,
        'healthy': not verdicts,
        'verdicts': [asdict(verdict) for verdict in verdicts],
        'judged_split': judged.split,
        'AP': judged.ap,
        'classes': list(evidence.classes),
        'heads': dict(evidence.heads),
        'splits': {name: _split(each) for name, each in evidence.splits.items()},
        'checks': {name: asdict(check) for name, check in evidence.checks.items()},
        'problems': [{'severity': each.severity, 'text': str(each)} for each in evidence.problems],
        'trials': evidence.trials,
        'gradients': dict(evidence.gradients),
        'cosines': {f'{first} | {second}': value for (first, second), value in evidence.cosines.items()},
        'weights': dict(evidence.weights),
        'limits': list(evidence.limits),
        'facts': dict(evidence.facts),
    }
    return plain(summary)


def _split(each: SplitEvidence) -> dict[str, Any]:
    values = {item.name: getattr(each, item.name) for item in fields(each) if item.name not in _LONG}
    values['median_object_size'] = float(np.median(each.object_sizes)) if len(each.object_sizes) else None
    return values
