"""COCO json from VOC xml, as mmdet reads it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import VOCDataset

from ..voc_checks import check_voc


def voc_to_coco(
    data_root: str | Path, image_set: str, classes: Sequence[str], out: str | Path, prefix: str = ''
) -> dict[str, Any]:
    """Read a VOC data set with mmdet's `VOCDataset` and write it as COCO json.

    Boxes are those that training on the xml files would see: mmdet subtracts 1 from VOC's coordinates, which count from
    1. Objects marked `difficult` get `ignore: 1`, which mmdet's `CocoDataset` leaves out.

    Args:
        data_root: Folder of the data set; `file_name` in the json is relative to it.
        image_set: Text file of image names, relative to `data_root`, such as `BCCD/ImageSets/Main/train.txt`.
        classes: Class names in the order wanted.
        out: Json file to write.
        prefix: Folder of `JPEGImages` and `Annotations`, relative to `data_root`.

    Returns:
        What was written.

    Raises:
        ValueError: A file is missing or no VOC xml, or a box is impossible; one sentence per problem.
    """
    root = Path(data_root)
    problems = check_voc(str(root / image_set), str(root / prefix), classes, images='none', origin='the classes given')
    errors = [str(problem) for problem in problems if problem.severity == 'error']
    if errors:
        raise ValueError('\n'.join(errors))
    dataset = VOCDataset(
        data_root=str(root),
        ann_file=image_set,
        data_prefix=dict(sub_data_root=prefix),
        metainfo=dict(classes=tuple(classes)),
        test_mode=True,
        pipeline=[],
        lazy_init=True,
    )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, info in enumerate(dataset.load_data_list(), start=1):
        name = os.path.relpath(info['img_path'], root)
        images.append({'id': number, 'file_name': name, 'width': info['width'], 'height': info['height']})
        for instance in info['instances']:
            x1, y1, x2, y2 = instance['bbox']
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': instance['bbox_label'] + 1,
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'iscrowd': 0,
                    'ignore': instance['ignore_flag'],
                }
            )
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, start=1)]
    coco = {'images': images, 'annotations': annotations, 'categories': categories}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(coco), encoding='utf-8')
    return coco
