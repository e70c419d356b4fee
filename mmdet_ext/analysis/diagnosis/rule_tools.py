"""What the rules of the verdict engine share: how trials are compared, and how numbers are written."""

from collections.abc import Iterable, Mapping, Sequence

from .evidence import Check, Evidence

_CHANCE = 0.02


def percent(share: float) -> str:
    """A share as a percentage."""
    return f'{100 * share:.0f} %' if share >= 0.0995 or share == 0 else f'{100 * share:.1f} %'


def number(value: float) -> str:
    """Three significant digits."""
    return f'{value:.3g}'


def falls(evidence: Evidence, trial: str) -> dict[str, float]:
    """By split, the share of the loss that a trial takes away; negative where it rises."""
    found = {}
    for split, trials in evidence.trials.items():
        plain, other = (trials.get(name, {}).get('loss') for name in ('plain', trial))
        if plain and other is not None:
            found[split] = 1 - other / plain
    return found


def strongest(evidence: Evidence, trials: Iterable[str]) -> tuple[str, dict[str, float]]:
    """The trial that takes away most of the loss of some split, and its falls; nothing where none was made."""
    every = {trial: falls(evidence, trial) for trial in trials}
    measured = {trial: found for trial, found in every.items() if found}
    if not measured:
        return '', {}
    best = max(measured, key=lambda trial: max(measured[trial].values()))
    return best, measured[best]


def helped(evidence: Evidence, trial: str, found: Mapping[str, float], least: float) -> list[str]:
    """Splits whose loss falls by at least that share, and whose AP does not fall with it.

    A loss can fall because the detector grows less sure of what is wrong; AP tells.
    """
    return [split for split, fall in found.items() if fall >= least and _ap_gain(evidence, trial, split) > -_CHANCE]


def _ap_gain(evidence: Evidence, trial: str, split: str) -> float:
    """AP that a trial adds; 0 where it was not measured."""
    plain, other = (evidence.trials[split].get(name, {}).get('ap') for name in ('plain', trial))
    return 0.0 if plain is None or other is None else other - plain


def returned(evidence: Evidence, trial: str, splits: Sequence[str]) -> float:
    """AP that a trial gives back: measured where it was, else the headroom times the fall of the loss."""
    fall = falls(evidence, trial)
    gains = [
        _ap_gain(evidence, trial, split) if 'ap' in evidence.trials[split][trial] else evidence.headroom * fall[split]
        for split in splits
    ]
    return max(gains, default=0.0)


def tell_trial(evidence: Evidence, trial: str, splits: Sequence[str], what: str) -> str:
    """A sentence with the losses, and AP where measured, of a trial beside those of the detector as it is."""
    parts = []
    for split in splits:
        plain, other = evidence.trials[split]['plain'], evidence.trials[split][trial]
        text = f'the loss on {split} falls from {number(plain["loss"])} to {number(other["loss"])}'
        if 'ap' in plain and 'ap' in other:
            text += f' and AP at 0.5 goes from {plain["ap"]:.3f} to {other["ap"]:.3f}'
        parts.append(text)
    return f'With {what}, {"; ".join(parts)}.'


def failed(evidence: Evidence, name: str) -> Check | None:
    """A self-check that was made and failed."""
    check = evidence.checks.get(name)
    return check if check is not None and check.passed is False else None


def gap(evidence: Evidence) -> float:
    """How much better AP is on the training images than on those of validation; 0 where one is not known."""
    train, val = evidence.splits.get('train'), evidence.splits.get('val')
    if train is None or val is None or train.ap is None or val.ap is None:
        return 0.0
    return train.ap - val.ap
