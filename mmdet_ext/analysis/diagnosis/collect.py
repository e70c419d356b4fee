"""Records of all the images to look at, one after the other; what is there already is not made again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mmdet_ext.utils.provenance import collect_versions, hash_file

from .detector import DiagnosedDetector
from .record_store import RecordStore

# What decides about records beside the weights: the rest of a config is about training.
_KEYS = ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader')


@dataclass
class Collected:
    """What became of the images of a split.

    Attributes:
        split: The split.
        indices: Places of the images with a record, in order.
        new: How many records were made just now.
        faults: File and reason of each image that could not be used.
        limits: Sentences about what could not be noted, and of how many images each is true.
    """

    split: str
    indices: list[int] = field(default_factory=list)
    new: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)


def collect(detector: DiagnosedDetector, store: RecordStore, split: str, progress: bool = True) -> Collected:
    """Make a record of each chosen image of a split that has none.

    Every record is written whole before the next one is begun, so that nothing is lost by Ctrl-C, and a second call
    goes on where the first was stopped. A damaged record of an earlier run is made again.

    Args:
        detector: The detector and its images.
        store: Where records go; of this detector, see `identity`.
        split: One of the detector's splits.
        progress: Draw a bar.

    Returns:
        What became of the images, those of earlier calls included.
    """
    result = Collected(split)
    bar = tqdm(detector.chosen[split], desc=split, unit='image', disable=None if progress else True)
    with bar:
        for index in bar:
            record = None
            if store.has(split, index):
                try:
                    record = store.get(split, index)
                except ValueError:
                    store.path(split, index).unlink()
            if record is None:
                record = detector.examine(split, index)
                store.add(record)
                result.new += 1
            result.indices.append(index)
            if record.fault is not None:
                result.faults.append((record.file, record.fault))
                bar.set_postfix(faulty=len(result.faults))
            for sentence in record.limits:
                result.limits[sentence] = result.limits.get(sentence, 0) + 1
    return result


def identity(detector: DiagnosedDetector) -> dict[str, Any]:
    """What records depend on, for a `RecordStore`: model and data of the config, weights, annotations, versions.

    Number and choice of the images are no part of it: records of further images may join those that are there.
    """
    annotations = {f'annotations of {name}': data.hash_annotations() for name, data in sorted(detector.splits.items())}
    return {
        'config': _hash({key: detector.cfg.get(key) for key in _KEYS}),
        'checkpoint': _hash_file(detector.checkpoint),
        **annotations,
        'versions': collect_versions(),
    }


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _hash_file(file: str | Path) -> str:
    path = Path(file).expanduser()
    if not path.is_file():
        return str(file)
    return hash_file(path)
