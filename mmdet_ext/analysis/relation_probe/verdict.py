"""What the figures of the probe say of each relation, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass

from .interventions import REMOVED
from .measure import Outcome

WORDS = ('matters', 'hurts', 'does not matter', 'cannot be told')


@dataclass(frozen=True)
class Verdict:
    """What the figures say of a relation.

    Attributes:
        relation: Name of the node.
        word: One of `WORDS`, by what happens when it is removed; the last is for a detector that finds next to nothing.
        sentence: The same with its figures.
        removed: Outcome of the removal.
        inner: Sentence on what is inside of it (graph, keys, parts); empty if nothing inside was disturbed.
    """

    relation: str
    word: str
    sentence: str
    removed: Outcome
    inner: str


def give_verdicts(outcomes: Sequence[Outcome], threshold: float, score_threshold: float) -> list[Verdict]:
    """A verdict per relation.

    Args:
        outcomes: As `measure` gives them, the undisturbed detector first.
        threshold: Change of AP from which something matters.
        score_threshold: Change of the scores from which it matters even if the AP stays.
    """
    plain, verdicts = outcomes[0], []
    for removed in (each for each in outcomes if each.kind == REMOVED):
        lost = plain.ap - removed.ap
        figures = f'AP {removed.ap:.3f} instead of {plain.ap:.3f}, scores change by {removed.score_change:.3f}'
        if plain.ap < threshold:
            word, sentence = 'cannot be told', f'cannot be told, AP is too low: without it {figures}'
        elif lost >= threshold:
            word, sentence = 'matters', f'matters at test time: without it {figures}'
        elif lost <= -threshold:
            word, sentence = 'hurts', f'the detector is better without it: {figures}'
        elif removed.score_change >= score_threshold:
            word, sentence = 'matters', f'matters for the scores, not for the AP: without it {figures}'
        else:
            word, sentence = 'does not matter', f'does not matter at test time: without it {figures}'
        inside = [each for each in outcomes if each.relation == removed.relation and 'removed' not in each.kind]
        verdicts.append(Verdict(removed.relation, word, sentence, removed, _judge_inside(plain, inside, threshold)))
    return verdicts


def _judge_inside(plain: Outcome, inside: Sequence[Outcome], threshold: float) -> str:
    """Which disturbances inside of a relation are felt, and which are not."""

    def listed(outcomes: Sequence[Outcome]) -> str:
        return ', '.join(f'{each.kind} ({each.ap - plain.ap:+.3f})'.replace('-', '−') for each in outcomes)

    felt = [each for each in inside if abs(plain.ap - each.ap) >= threshold]
    rest = [each for each in inside if each not in felt]
    return '; '.join(
        f'{what}: {listed(each)}' for what, each in (('AP changes with', felt), ('it stays with', rest)) if each
    )
