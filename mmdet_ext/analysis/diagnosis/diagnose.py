"""Why is the mAP low? Look at a trained detector image by image, judge what is found, and write it down."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmdet_ext.engine.config_check import check_config
from mmdet_ext.utils.provenance import collect_versions

from .collect import Collected, collect, identity
from .detector import DiagnosedDetector, spread
from .evidence import Evidence
from .gather import split_evidence
from .gradients import measure_gradients
from .per_image import worst_images, write_per_image
from .record import ImageRecord
from .record_store import RecordStore
from .report import write_diagnosis_report
from .rules import ENOUGH_OBJECTS, RULES
from .self_checks import run_self_checks
from .summary import summarise
from .trials import run_trials
from .verdict import Verdict, format_verdicts, judge
from .weights import head_facts, weight_findings

WORST, TRIAL_IMAGES, GRADIENT_IMAGES = 8, 8, 4


def run_diagnosis(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    *,
    splits: Sequence[str] = ('train', 'val'),
    num: int | None = None,
    image_ids: Sequence[str] | None = None,
    worst: int = WORST,
    trial_images: int = TRIAL_IMAGES,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    pictures: bool = True,
    progress: bool = True,
    command: str = '',
) -> dict[str, Any]:
    """Diagnose a detector.

    Below `out` are written: `report.html`, `summary.json` (verdicts in order and all figures), `per_image.csv`,
    `pictures/` and `records/`. Records of images are kept: a second call with the same config and weights, after
    Ctrl-C for instance or with a larger `num`, goes on where the first one ended.

    Args:
        config: Config file.
        checkpoint: The weights.
        out: Folder; default `work_dirs/diagnosis/<config stem>`.
        splits: Of 'train', 'val' and 'test'.
        num: Images of each split, evenly spread over it; None for all.
        image_ids: Only these images, by id or file name; `num` is not looked at then.
        worst: Number of images to draw.
        trial_images: Images of each split for the trials; 0 leaves them out.
        dataset: Config whose data part replaces the config's.
        cfg_options: Dotted key to value, merged into the config.
        pictures: Whether to write pictures and the report.
        progress: Whether to draw progress bars.
        command: Stored with the figures.

    Returns:
        What was written to `summary.json`.

    Raises:
        FileNotFoundError: Config, checkpoint or annotation file is missing.
        ValueError: A bad option, an unknown image, a checkpoint of another model, or records of another run in `out`.
    """
    for option, value in (('--worst', worst), ('--trials', trial_images)):
        if value < 0:
            raise ValueError(f'{option} {value}: the number of images must be at least 0')
    began = time.time()
    detector = DiagnosedDetector(config, checkpoint, splits, num, image_ids, dataset, cfg_options)
    out = Path(out) if out is not None else Path('work_dirs/diagnosis') / Path(config).stem
    store = RecordStore(out / 'records', identity(detector))
    collected = _collect_all(detector, store, progress)
    evidence = look(detector, store, collected, trial_images)
    verdicts = judge(evidence, RULES)
    count = len(detector.classes)
    write_per_image(out / 'per_image.csv', _records(store, collected), count)
    chosen = worst_images(_records(store, collected), worst, count)
    facts = {
        'config': str(config),
        'checkpoint': str(checkpoint),
        'command': command,
        'seconds': round(time.time() - began, 1),
        'versions': collect_versions(),
        'worst': [{'split': split, 'file': store.get(split, index).file} for split, index in chosen],
    }
    summary = summarise(evidence, verdicts, facts)
    (out / 'summary.json').write_text(json.dumps(summary, indent=2, allow_nan=False) + '\n', encoding='utf-8')
    if pictures:
        records = [store.get(split, index) for split, index in chosen]
        page = write_diagnosis_report(out, summary, evidence, verdicts, records, detector.model)
        print_log(f'Look at {page}; numbers: {out / "summary.json"} and {out / "per_image.csv"}')
    _read.cache_clear()
    print_log(f'\n{tell(evidence, verdicts)}\n')
    return summary


def _collect_all(detector: DiagnosedDetector, store: RecordStore, progress: bool) -> dict[str, Collected]:
    """Records of every split; says what is kept where somebody interrupts."""
    collected = {}
    try:
        for split in detector.splits:
            collected[split] = collect(detector, store, split, progress)
    except KeyboardInterrupt:
        print_log(f'Interrupted. The records so far lie in {store.folder}; the same command goes on from there.')
        raise
    return collected


def look(
    detector: DiagnosedDetector, store: RecordStore, collected: Mapping[str, Collected], trial_images: int
) -> Evidence:
    """Everything the rules want to know.

    Args:
        detector: The detector.
        store: Its records.
        collected: Which of them are of this call.
        trial_images: See `run_diagnosis`.
    """
    limits = {sentence: None for each in collected.values() for sentence in each.limits}
    some = {
        split: [each.indices[place] for place in spread(len(each.indices), trial_images)] if trial_images else []
        for split, each in collected.items()
    }
    trials = {split: run_trials(detector, split, places) for split, places in some.items() if places}
    gradients = measure_gradients(detector, *_gradient_images(store, collected, some))
    limits |= dict.fromkeys(gradients.limits)
    test_cfg = detector.cfg.model.get('test_cfg')
    evidence = {
        split: split_evidence(split, partial(_of_split, store, each), detector.classes, test_cfg)
        for split, each in collected.items()
    }
    found = Evidence(
        cfg=detector.cfg,
        checkpoint=str(detector.checkpoint),
        classes=detector.classes,
        heads={name: stage.kind for each in evidence.values() for name, stage in each.stages.items()},
        splits=evidence,
        problems=check_config(detector.cfg, splits=tuple(detector.splits)),  # type: ignore[arg-type]
        checks=run_self_checks(detector, {split: each.digests for split, each in evidence.items()}),
        trials=trials,
        gradients=gradients.norms,
        cosines=gradients.cosines,
        weights=weight_findings(detector.cfg, detector.model, detector.meta),
        limits=list(limits),
        facts={'heads': head_facts(detector.model), 'epoch': detector.meta.get('epoch')},
    )
    if found.judged.n_objects >= ENOUGH_OBJECTS:
        return found
    few = (
        f'what test settings and errors cost: {found.judged.split} has {found.judged.n_objects} objects here, and '
        f'below {ENOUGH_OBJECTS} differences of AP are chance'
    )
    return replace(found, limits=[*found.limits, few])


def _gradient_images(
    store: RecordStore, collected: Mapping[str, Collected], some: Mapping[str, Sequence[int]]
) -> tuple[str, list[int]]:
    """A split and some of its images with objects: without any, boxes have no gradient, which says nothing.

    Args:
        store: The records.
        collected: Which of them are of this call.
        some: Images of the trials, taken first; a split without them is passed over.
    """
    order = sorted(collected, key=lambda split: ('val', 'test', 'train').index(split))
    for split in order:
        each = collected[split]
        places = dict.fromkeys([*some[split], *each.indices] if some[split] else [])
        found = list(islice((place for place in places if len(_read(store, split, place).truth)), GRADIENT_IMAGES))
        if found:
            return split, found
    return order[0], []


def _of_split(store: RecordStore, collected: Collected) -> Iterator[ImageRecord]:
    return (_read(store, collected.split, index) for index in collected.indices)


# Every analysis passes over all records; of small sets they stay in memory.
@lru_cache(maxsize=256)
def _read(store: RecordStore, split: str, index: int) -> ImageRecord:
    return store.get(split, index)


def _records(store: RecordStore, collected: Mapping[str, Collected]) -> Iterator[ImageRecord]:
    """Records of this call, those of earlier calls with other images left out."""
    for each in collected.values():
        yield from _of_split(store, each)


def tell(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """The verdict, what it rests on and what it does not cover, for the console."""
    seen = ', '.join(f'{each.n_images} images of {split}' for split, each in evidence.splits.items())
    faults = sum(len(each.faults) for each in evidence.splits.values())
    lines = [f'Looked at {seen}{f"; {faults} could not be used" if faults else ""}.']
    lines.append(format_verdicts(verdicts, evidence.judged.ap))
    lines += [f'Not looked into: {sentence}.' for sentence in evidence.limits]
    return '\n'.join(lines)
