"""Rules by which images are kept out of a training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..ablation.grid import nearest
from .sources import ImageFacts, Measured


@dataclass(frozen=True)
class Limits:
    """Which rules hold, and from where on.

    Attributes:
        rules: Of `RULES`.
        loss_quantile: The rule 'loss' drops images above this quantile of the images with a row.
        loss_column: What it compares: the sum, or one term.
        min_side: The rule 'tiny' drops images whose smallest object has a shorter side, in pixels at the model's input.

    Raises:
        ValueError: No rule or an unknown one, or a number out of range.
    """

    rules: Sequence[str] = ('fault', 'annotation', 'unmatched', 'tiny', 'loss')
    loss_quantile: float = 0.9
    loss_column: str = 'loss'
    min_side: float = 4.0

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule not in RULES:
                raise ValueError(f'there is no rule {rule!r}; {nearest(rule, RULES)}')
        if not self.rules:
            raise ValueError(f'there is no rule to screen by; there are: {", ".join(RULES)}')
        if not 0 < self.loss_quantile < 1:
            raise ValueError(f'--loss-quantile must lie between 0 and 1, got {self.loss_quantile}')
        if not self.min_side > 0:
            raise ValueError(f'--min-side must be positive, got {self.min_side}')

    @property
    def columns(self) -> dict[str, str]:
        """Columns that the rules read, each with the rule."""
        wanted = {rule: [self.loss_column] if rule == 'loss' else RULES[rule].columns for rule in self.rules}
        return {column: rule for rule, columns in wanted.items() for column in columns}


Judge = Callable[[ImageFacts, Limits, float], str | None]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        meaning: What it drops, for a person.
        columns: Of the diagnosis that it reads.
        judge: Reason to drop an image, None to keep it; gets the loss that belongs to the quantile.
    """

    meaning: str
    columns: Sequence[str]
    judge: Judge


def judge_images(images: Sequence[ImageFacts], limits: Limits) -> tuple[list[dict[str, str]], float]:
    """Judge every image by every rule.

    Returns:
        For each image rule to reason, empty for one to keep; and the loss at the quantile, NaN without finite ones.
    """
    losses = np.array([_number(facts.measured, limits.loss_column) for facts in images])
    finite = losses[np.isfinite(losses)]
    threshold = float(np.quantile(finite, limits.loss_quantile)) if len(finite) else float('nan')
    verdicts = []
    for facts in images:
        reasons = {rule: RULES[rule].judge(facts, limits, threshold) for rule in limits.rules}
        verdicts.append({rule: reason for rule, reason in reasons.items() if reason is not None})
    return verdicts, threshold


def _number(measured: Measured | None, column: str) -> float:
    return float('nan') if measured is None else measured.numbers.get(column, float('nan'))


def _fault(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    return f'cannot be used: {facts.measured.fault}' if facts.measured and facts.measured.fault else None


def _annotation(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    return '; '.join(facts.bad) or None


def _unmatched(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    objects = _number(facts.measured, 'n_gt')
    nothing = objects > 0 and _number(facts.measured, 'n_pos') == 0
    return f'no prior or RoI is positive for its {objects:.0f} objects' if nothing else None


def _undetected(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    objects = _number(facts.measured, 'n_gt')
    nothing = objects > 0 and _number(facts.measured, 'TP') == 0
    return f'none of its {objects:.0f} objects is detected' if nothing else None


def _tiny(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    side = _number(facts.measured, 'min_side')
    if not side < limits.min_side:
        return None
    return f'its smallest object has {side:.1f} px at the input of the model, below {limits.min_side:g}'


def _loss(facts: ImageFacts, limits: Limits, threshold: float) -> str | None:
    value = _number(facts.measured, limits.loss_column)
    # An empty cell is no loss at all: the head could not compute one. NaN is one, and would end a training.
    known = facts.measured is not None and limits.loss_column in facts.measured.numbers
    if not known or value <= threshold:
        return None
    if not np.isfinite(value):
        return f'{limits.loss_column} is {value}'
    return f'{limits.loss_column} {value:.3g} is above {threshold:.3g}, the quantile {limits.loss_quantile:g} of all'


RULES = {
    'fault': Rule('the diagnosis could not read it', ['fault'], _fault),
    'annotation': Rule('boxes or classes of its annotations are faulty', [], _annotation),
    'unmatched': Rule('it has objects, but the detector trains on none of them', ['n_gt', 'n_pos'], _unmatched),
    'undetected': Rule('it has objects, and the detector finds none of them', ['n_gt', 'TP'], _undetected),
    'tiny': Rule('its smallest object is too small for the input of the model', ['min_side'], _tiny),
    'loss': Rule('its loss is among the highest', ['loss'], _loss),
}
"""Name to rule. 'undetected' is not among the defaults: of a detector that has learnt little it says nothing."""
