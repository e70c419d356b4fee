"""The verdict engine: rules look at the evidence, and what they find is put in the order of the AP it could return."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .evidence import Evidence

MIN_GAIN = 0.005
_ENOUGH = 0.3


@dataclass(frozen=True)
class Finding:
    """What a rule has found.

    Attributes:
        gain: AP (0 to 1) that could come back if the cause is what the rule thinks; 0 where the fault costs no AP but
            makes the figures worthless.
        evidence: The numbers that speak for it, a sentence.
        cause: What is likely behind them, a sentence.
        fix: Which line of the config or which data to change, a sentence.
    """

    gain: float
    evidence: str
    cause: str
    fix: str


@dataclass(frozen=True)
class Rule:
    """One row of the table of rules.

    Attributes:
        name: Its id.
        find: Looks at the evidence with the thresholds of the row; None where all is well.
        certainty: How sure the cause is once the rule fires: 1 where an experiment or a count shows it, less where the
            numbers fit other causes too. The gain is weighed with it.
        limits: Thresholds by name.
        objects: Objects that the judged split must have, so that the AP which the rule reads is no chance.
        explains: Rules whose findings are likely consequences of this one.
    """

    name: str
    find: Callable[[Evidence, Mapping[str, float]], Finding | None]
    certainty: float
    limits: Mapping[str, float] = field(default_factory=dict)
    explains: Sequence[str] = ()
    objects: int = 0


@dataclass(frozen=True)
class Verdict:
    """A finding, weighed.

    Attributes:
        rule: Id of the rule.
        gain: AP that could come back, weighed with the certainty of the rule; an estimate, from 0 to 1.
        certainty: Of the rule.
        evidence: See `Finding`.
        cause: See `Finding`.
        fix: See `Finding`.
        explained_by: The rule, fired too, of which this is likely a consequence; None for a cause of its own.
    """

    rule: str
    gain: float
    certainty: float
    evidence: str
    cause: str
    fix: str
    explained_by: str | None = None


def judge(evidence: Evidence, rules: Iterable[Rule]) -> list[Verdict]:
    """Ask every rule.

    Args:
        evidence: What is known.
        rules: The table.

    Returns:
        Verdicts: causes first, then what they explain; among either the largest gain first, certain ones first among
        equals. Empty for a healthy detector. A finding whose gain, once weighed, is below `MIN_GAIN` is left out unless
        it is exactly 0 (figures that mean nothing). A cause explains nothing that could return much more than itself.
    """
    fired: dict[str, tuple[Rule, Verdict]] = {}
    for rule in rules:
        if evidence.judged.n_objects < rule.objects:
            continue
        finding = rule.find(evidence, rule.limits)
        if finding is None:
            continue
        gain = rule.certainty * min(max(finding.gain, 0.0), evidence.headroom)
        if gain >= MIN_GAIN or finding.gain == 0:
            verdict = Verdict(rule.name, gain, rule.certainty, finding.evidence, finding.cause, finding.fix)
            fired[rule.name] = rule, verdict
    order = sorted((each for _, each in fired.values()), key=lambda each: (-round(each.gain, 4), -each.certainty))
    verdicts = []
    for each in order:
        causes = (
            other.rule
            for other in order
            if each.rule in fired[other.rule][0].explains and other.gain >= _ENOUGH * each.gain
        )
        verdicts.append(replace(each, explained_by=next(causes, None)))
    return sorted(verdicts, key=lambda each: each.explained_by is not None)


def format_verdicts(verdicts: Sequence[Verdict], ap: float | None) -> str:
    """The verdict in plain words, for the console."""
    seen = 'there is nothing to measure AP on' if ap is None else f'AP is {ap:.3f}'
    seen = seen[:1].upper() + seen[1:]
    if not verdicts:
        return f'{seen}. Nothing that the diagnosis looks for is wrong with this detector, its data or its config.'
    lines = [f'{seen}. The likeliest cause first:']
    for place, each in enumerate(verdicts, start=1):
        worth = f'up to {each.gain:.3f} AP' if each.gain else 'figures that mean less than they seem'
        if each.explained_by:
            worth = f'{worth}, likely a consequence of {each.explained_by}'
        lines += [
            f'{place}. {each.rule} ({worth})',
            f'   {each.cause}',
            f'   Evidence: {each.evidence}',
            f'   Fix: {each.fix}',
        ]
    return '\n'.join(lines)
