"""Records as what measures of detections read."""

from collections.abc import Iterable, Iterator

from mmdet_ext.evaluation.objects import ImageObjects

from .record import ImageRecord


def whole_records(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
    """Those of images about which something could be noted."""
    return (record for record in records if record.fault is None)


def record_images(
    records: Iterable[ImageRecord], num_classes: int | None = None, raw: bool = False
) -> Iterator[ImageObjects]:
    """Objects and detections of the images.

    Args:
        records: Faulty ones are left out.
        num_classes: Leave out detections of further classes, which the data do not have; default: none.
        raw: Detections before the test config has cut them.
    """
    for record in whole_records(records):
        found = record.raw if raw else record.detections
        if num_classes is not None:
            found = found[found.labels < num_classes]
        yield ImageObjects(record.truth, found, record.ignored)
