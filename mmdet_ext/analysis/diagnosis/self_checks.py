"""All self-checks of a diagnosis: of annotations, splits, inputs, the measure, coders and class names."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from .annotation_checks import check_annotations, count_annotations
from .evidence import Check
from .input_checks import check_inputs
from .leakage import check_leakage
from .split_data import SplitData
from .truth_checks import MOST_BOXES, check_coders, check_truth_as_predictions, truth_of


def run_self_checks(detector: Any, digests: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Check]:
    """Make every self-check that the detector and its splits allow.

    Args:
        detector: A `DiagnosedDetector`.
        digests: Split -> image file -> hash of the decoded pixels, of the images that were looked at.

    Returns:
        Name -> check; those that could not be made have `passed=None` and say why.
    """
    splits: Mapping[str, SplitData] = detector.splits
    counts = {name: count_annotations(infos(data)) for name, data in splits.items()}
    files = {name: [str(info['img_path']) for info in infos(data)] for name, data in splits.items()}
    checks = [
        *check_annotations(counts, detector.classes),
        check_leakage(files, digests),
        *check_inputs(detector.cfg, detector.checkpoint),
        check_class_names(detector.learnt, detector.classes),
    ]
    judged = next((name for name in ('val', 'test') if name in splits), None)
    if judged is None:
        checks.append(Check('truth_as_predictions', None, 'There is no split with an evaluator.'))
    else:
        data = splits[judged]
        metainfo = data.sets[0].dataset.metainfo
        evaluator = detector.cfg.get(f'{judged}_evaluator')
        checks.append(check_truth_as_predictions(evaluator, metainfo, infos(data), len(data)))
    some = (truth_of(info) for info in infos(splits[judged or next(iter(splits))]))
    checks.append(check_coders(detector.model, islice(some, MOST_BOXES), len(detector.classes)))
    return {check.name: check for check in checks}


def infos(data: SplitData) -> Iterator[Mapping[str, Any]]:
    """What the annotation file says of each image, one at a time."""
    return (data.get_data_info(index) for index in range(len(data)))


def check_class_names(learnt: Sequence[str] | None, classes: Sequence[str]) -> Check:
    """Compare the class names a checkpoint was trained on with those of the data."""
    if learnt is None:
        return Check('class_names', None, 'The checkpoint does not say which classes it was trained on.')
    if tuple(learnt) == tuple(classes):
        return Check('class_names', True, f'The checkpoint was trained on these {len(classes)} classes, in this order.')
    fix = f'Write metainfo=dict(classes={tuple(learnt)!r}), or give the checkpoint that was trained on these data.'
    what = 'the same classes in another order' if sorted(learnt) == sorted(classes) else 'other classes'
    sentence = f'The checkpoint was trained on {what}: {", ".join(learnt)}; the data have {", ".join(classes)}.'
    return Check('class_names', False, sentence, {}, fix)
