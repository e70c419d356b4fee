"""Rules about weights and training: what was learnt, what was not, and how it was weighed."""

from collections.abc import Mapping

from .evidence import Evidence
from .rule_tools import failed, gap, number, percent
from .verdict import Finding

Limits = Mapping[str, float]


def not_finite(evidence: Evidence, limits: Limits) -> Finding | None:
    """Weights are NaN or infinite."""
    found = evidence.weights.get('not_finite')
    if found is None:
        return None
    return Finding(
        evidence.headroom,
        f'{_capital(found)}.',
        'Training has diverged: what is not finite spreads to every score.',
        'Take the last checkpoint before that; lower optim_wrapper.optimizer.lr, set optim_wrapper.clip_grad, and let '
        'LossMonitorHook name the batch.',
    )


def untrained_parts(evidence: Evidence, limits: Limits) -> Finding | None:
    """Layers have the weights they began with, or none."""
    found = [evidence.weights[key] for key in ('untrained', 'zero', 'norm_statistics') if key in evidence.weights]
    if not found:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        f'{_capital("; ".join(found))}.',
        'These layers were never trained, or their weights were not in the checkpoint.',
        'Look at `frozen`, paramwise_cfg and load_from of the config, and at the list of loaded weights in the log.',
    )


def frozen_parts(evidence: Evidence, limits: Limits) -> Finding | None:
    """Whole parts cannot learn by the config."""
    found = [evidence.weights[key] for key in ('frozen', 'frozen_backbone') if key in evidence.weights]
    if not found:
        return None
    worth = limits['share'] if 'frozen' in evidence.weights else limits['trunk']
    return Finding(
        worth * evidence.headroom,
        f'{_capital("; ".join(found))}.',
        'The config keeps parts of the detector from learning.',
        'Remove frozen_stages, `frozen` or the lr_mult of 0 unless these weights come from a training on like images.',
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def self_check_of_metric(evidence: Evidence, limits: Limits) -> Finding | None:
    """Ground truth as predictions does not give AP 1."""
    check = failed(evidence, 'truth_as_predictions')
    if check is None:
        return None
    return Finding(
        (1 - check.figures['ap']) * evidence.headroom,
        check.sentence,
        'The evaluator measures against other annotations, classes or images than the loader gives.',
        check.fix,
    )


def self_check_of_coders(evidence: Evidence, limits: Limits) -> Finding | None:
    """Boxes that are encoded and decoded again do not come back."""
    check = failed(evidence, 'coders')
    if check is None:
        return None
    return Finding(
        (1 - min(check.figures.values())) * evidence.headroom,
        check.sentence,
        'The box coder cannot give back what it encodes, so no training can give right boxes.',
        check.fix,
    )


def loss_balance(evidence: Evidence, limits: Limits) -> Finding | None:
    """A term of the loss pulls at nothing."""
    norms = {name: norm for name, norm in evidence.gradients.items() if norm == norm}
    if len(norms) < 2:
        return None
    weak, strong = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
    if norms[strong] <= 0 or norms[weak] / norms[strong] >= limits['ratio']:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        f'At the shared trunk the gradient of {weak} has a norm of {number(norms[weak])}, that of {strong} '
        f'{number(norms[strong])}.',
        f'{strong} drowns {weak}: what this term should teach is not learnt.',
        f'Change `loss_weight` of {weak} or {strong}; GradientBalanceHook logs both during training.',
    )


def batch_and_rate(evidence: Evidence, limits: Limits) -> Finding | None:
    """The learning rate is for another batch size."""
    check = failed(evidence, 'batch_size')
    if check is None:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        check.sentence,
        'The learning rate of the schedule belongs to another number of images per step.',
        check.fix,
    )


def overfitted(evidence: Evidence, limits: Limits) -> Finding | None:
    """Training images are learnt by heart."""
    lost = gap(evidence)
    if lost < limits['gap']:
        return None
    train, val = evidence.splits['train'], evidence.splits['val']
    losses = ''
    if train.loss and val.loss:
        losses = f', the median loss {number(train.loss)} and {number(val.loss)}'
    return Finding(
        lost,
        f'AP is {train.ap:.3f} on train and {val.ap:.3f} on val{losses}.',
        'The training images were learnt by heart: too few of them, too little augmentation, or too many epochs; or '
        'those of val are of another kind.',
        'Add images or augmentation to train_dataloader.dataset.pipeline, train for fewer epochs (an earlier '
        'checkpoint), or raise weight_decay.',
    )


def undertrained(evidence: Evidence, limits: Limits) -> Finding | None:
    """Not even training images are detected."""
    seen = evidence.splits.get('train') or evidence.judged
    if seen.ap is None or seen.ap > limits['ap']:
        return None
    # A head that mends its boxes has learnt: whatever is wrong is elsewhere.
    pairs = [(stage.overlap_before, stage.overlap_after) for stage in seen.stages.values()]
    if any(None not in pair and pair[1] - pair[0] > limits['mended'] for pair in pairs):  # type: ignore[operator]
        return None
    early = evidence.weights.get('early')
    told = '' if early is None else f'; {early}'
    loss = '' if seen.loss is None else f', the median loss {number(seen.loss)}'
    return Finding(
        evidence.headroom - limits['ap'],
        f'AP on {seen.split} is {seen.ap:.3f}{loss}{told}.',
        'The detector has hardly learnt: it was stopped early, its learning rate is too low or too high, or one of the '
        'other causes keeps it from learning.',
        'Run `python tools/analysis_tools/overfit.py CONFIG`: a few images must reach AP 0.9. If they do, train for '
        'longer (train_cfg.max_epochs) or with another optim_wrapper.optimizer.lr.',
    )


def missed_in_training(evidence: Evidence, limits: Limits) -> Finding | None:
    """One class is far behind the others."""
    found = {name: ap for name, ap in evidence.judged.class_ap.items() if ap is not None}
    if len(found) < 2:
        return None
    worst = min(found, key=lambda name: found[name])
    rest = sum(ap for name, ap in found.items() if name != worst) / (len(found) - 1)
    if rest - found[worst] < limits['gap'] or evidence.judged.class_objects.get(worst, 0) < limits['objects']:
        return None
    counts = evidence.splits['train'].class_objects if 'train' in evidence.splits else {}
    share = counts.get(worst, 0) / max(sum(counts.values()), 1)
    told = f', and {percent(share)} of the objects of train are of it' if counts else ''
    return Finding(
        (rest - found[worst]) / len(found),
        f'AP of {worst!r} is {found[worst]:.3f}, that of the other classes {rest:.3f} on average{told}.',
        f'{worst!r} is rare, hard to see, or annotated in more than one way.',
        f'Look at its errors in the report; add images of {worst!r}, or wrap the training set in ClassBalancedDataset.',
    )
