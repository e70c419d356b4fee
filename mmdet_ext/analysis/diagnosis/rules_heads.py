"""Rules about what heads make of the images: anchors, assignment, proposals, scores and regression."""

from collections.abc import Callable, Mapping

from .evidence import Evidence, StageEvidence
from .rule_tools import number, percent
from .verdict import Finding

Limits = Mapping[str, float]


def _stages(evidence: Evidence, holds: Callable[[StageEvidence], bool]) -> dict[str, StageEvidence]:
    """Heads of the judged split of which something holds in every split.

    What is wrong with weights or config shows on training images too; what shows on the others alone has other causes.
    """
    return {
        name: stage
        for name, stage in evidence.judged.stages.items()
        if all(holds(each.stages[name]) for each in evidence.splits.values() if name in each.stages)
    }


def _assigner(name: str) -> str:
    """Config key of the assigner of a head."""
    if name == 'rpn_head':
        return 'model.train_cfg.rpn.assigner'
    if name.startswith('roi_head.'):
        return f'model.train_cfg.rcnn[{name.split(".")[1]}].assigner'
    return 'model.train_cfg.rcnn.assigner' if name == 'roi_head' else 'model.train_cfg.assigner'


def _coder(name: str) -> str:
    if name.startswith('roi_head'):
        stage = f'[{name.split(".")[1]}]' if '.' in name else ''
        return f'model.roi_head.bbox_head{stage}.bbox_coder'
    return f'model.{name}.bbox_coder'


def anchors_do_not_fit(evidence: Evidence, limits: Limits) -> Finding | None:
    """No anchor is like the objects."""

    def unfit(stage: StageEvidence) -> bool:
        return stage.kind == 'priors' and stage.best_recall.get(limits['overlap'], 1.0) < limits['recall']

    for name, stage in _stages(evidence, unfit).items():
        reached = stage.best_recall[limits['overlap']]
        return Finding(
            (1 - reached) * evidence.headroom,
            f'Only {percent(reached)} of the objects overlap any prior of {name} by {limits["overlap"]} or more, '
            f'half of them by less than {stage.best_iou:.2f}.',
            'Anchors have other sizes or shapes than the objects: what no anchor is like is hardly learnt or found.',
            f'Fit model.{name}.anchor_generator: `python tools/analysis_tools/optimize_anchors.py CONFIG`.',
        )
    return None


def positives_too_rare(evidence: Evidence, limits: Limits) -> Finding | None:
    """Objects go without a positive although there are priors for them."""

    def lost(stage: StageEvidence) -> float:
        return stage.without_positive - (1 - stage.best_recall.get(limits['overlap'], 0.0))

    for name, stage in _stages(evidence, lambda stage: lost(stage) > limits['share']).items():
        reached = stage.best_recall[limits['overlap']]
        return Finding(
            lost(stage) * evidence.headroom,
            f'{percent(stage.without_positive)} of the objects have no positive in {name}, though '
            f'{percent(reached)} have a {"prior" if stage.kind == "priors" else "RoI"} that overlaps them by '
            f'{limits["overlap"]} or more.',
            'The assigner asks for more overlap than there is, so nothing learns these objects.',
            f'Lower {_assigner(name)}.pos_iou_thr, or give every object its best prior (match_low_quality=True, '
            'a low min_pos_iou).',
        )
    return None


def everything_is_object(evidence: Evidence, limits: Limits) -> Finding | None:
    """Negatives have scores above one half."""
    for name, stage in _stages(evidence, lambda stage: stage.above_half > limits['share']).items():
        return Finding(
            stage.above_half * evidence.headroom,
            f'{percent(stage.above_half)} of the {"priors" if stage.kind == "priors" else "RoIs"} of {name} that '
            'are for no object have a score above 0.5.',
            'Nearly everything is an object to this head: its classifier has not learnt the background (too few '
            'negatives, a weight of background near 0, a wrong bias at the start, or wrong targets).',
            f'Look at {_assigner(name)}.neg_iou_thr, the sampler beside it and the weight of background in '
            'loss_cls; the bias should start at -log(99), a probability of 0.01.',
        )
    return None


def too_few_proposals(evidence: Evidence, limits: Limits) -> Finding | None:
    """The RPN finds the objects, but hands on too few boxes."""
    judged = evidence.judged
    rpn = (evidence.cfg.model.get('test_cfg') or {}).get('rpn') or {}
    allowed = rpn.get('max_per_img')
    if not judged.proposals_50 or allowed is None or allowed > limits['most']:
        return None
    reached = max(judged.proposals_50.values())
    if reached >= limits['recall'] or not judged.n_images:
        return None
    per_image = judged.n_objects / judged.n_images
    if allowed > limits['per_object'] * per_image:
        return None
    return Finding(
        (1 - reached) * evidence.headroom,
        f'The RPN hands on at most {allowed} boxes for {per_image:.1f} objects per image, and {percent(1 - reached)} '
        'of the objects are in none of them.',
        'What is no proposal cannot be detected.',
        'Raise model.test_cfg.rpn.max_per_img (1000 is usual) and look at nms_pre beside it.',
    )


def rpn_misses(evidence: Evidence, limits: Limits) -> Finding | None:
    """Proposals miss objects that anchors reach."""
    judged, stage = evidence.judged, evidence.judged.stages.get('rpn_head')
    found = [max(each.proposals_50.values()) for each in evidence.splits.values() if each.proposals_50]
    if not judged.proposals_50 or stage is None or max(found) >= limits['recall']:
        return None
    reached, possible = max(judged.proposals_50.values()), stage.best_recall.get(limits['overlap'], 0.0)
    if possible - reached < limits['lost']:
        return None
    return Finding(
        (possible - reached) * evidence.headroom,
        f'{max(judged.proposals_50)} proposals find {percent(reached)} of the objects at an overlap of 0.5, while '
        f'{percent(possible)} have a fitting anchor; class-agnostic AP of the proposals is '
        f'{number(judged.proposal_ap or 0.0)}.',
        'The RPN has not learnt: it was frozen, its weights were not in the checkpoint it started from, or its loss '
        'weighs nothing.',
        'Look at model.rpn_head.loss_cls.loss_weight and train the RPN (configs/scratch_gn has a two-phase example).',
    )


def _gained(stage: StageEvidence) -> float:
    """Overlap that the regression adds; infinite where it is not known, which is no fault."""
    if stage.overlap_before is None or stage.overlap_after is None:
        return float('inf')
    return stage.overlap_after - stage.overlap_before


def regression_makes_worse(evidence: Evidence, limits: Limits) -> Finding | None:
    """Boxes are worse after the regression than before."""
    for name, stage in _stages(evidence, lambda stage: _gained(stage) < -limits['loss']).items():
        before, after = stage.overlap_before, stage.overlap_after
        return Finding(
            limits['share'] * evidence.headroom,
            f'Positives of {name} overlap their objects by {before:.2f}, and by {after:.2f} after the regression.',
            'Boxes are decoded otherwise than in the training of these weights: means or stds of the coder, or the '
            'order of the box branch, have changed.',
            f'Set {_coder(name)}.target_means and target_stds as in the training.',
        )
    return None


def boxes_not_regressed(evidence: Evidence, limits: Limits) -> Finding | None:
    """The regression changes nothing."""

    def idle(stage: StageEvidence) -> bool:
        return -limits['loss'] <= _gained(stage) < limits['gain'] and (stage.overlap_before or 0) < limits['good']

    for name, stage in _stages(evidence, idle).items():
        before, after = stage.overlap_before, stage.overlap_after
        known = [f'{text}.' for text in evidence.weights.values() if 'reg' in text]
        told = f'Positives of {name} overlap their objects by {before:.2f}, and by {after:.2f} after the regression.'
        return Finding(
            limits['share'] * evidence.headroom,
            ' '.join([told, *known]),
            'The box branch has learnt nothing: it is frozen, its loss weighs next to nothing, or its weights were '
            'lost on the way.',
            f'Look at loss_bbox of {name}, `frozen` and paramwise_cfg, and train the box branch.',
        )
    return None
