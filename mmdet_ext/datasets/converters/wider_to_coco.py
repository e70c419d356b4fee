"""COCO json with landmarks from the label files of WIDER FACE and RetinaFace."""

import json
import os
from pathlib import Path
from typing import Any

from ..transforms.landmark_geometry import FACE_LANDMARKS
from ..wider_face import WiderFaceLandmarkDataset, covers_image


def wider_to_coco(labels: str | Path, images: str | Path, out: str | Path) -> dict[str, Any]:
    """Read a label file with `WiderFaceLandmarkDataset` and write it as COCO json, for `CocoLandmarkDataset`.

    Invalid faces get `iscrowd: 1`, which mmdet and COCO's evaluation ignore. Faces that cover nothing of their image
    are left out: COCO has no place for them. Boxes are not clipped. Images without faces are kept.

    Args:
        labels: Label file of either format, see `read_wider_labels`.
        images: Folder of `EVENT/FILE.jpg`; `file_name` is relative to it.
        out: Json file to write. Missing folders are made.

    Returns:
        What was written; `keypoints` are there for faces with at least one labelled landmark.

    Raises:
        FileNotFoundError: There is no label file.
        ValueError: A fault of the label file, or an image that is missing or no picture.
    """
    dataset = WiderFaceLandmarkDataset(
        ann_file=str(labels), data_prefix=dict(img=str(images)), test_mode=True, pipeline=[], lazy_init=True
    )
    category = {'id': 1, 'name': 'face', 'keypoints': list(FACE_LANDMARKS), 'skeleton': []}
    coco: dict[str, Any] = {'images': [], 'annotations': [], 'categories': [category]}
    for number, info in enumerate(dataset.load_data_list(), start=1):
        name = Path(os.path.relpath(info['img_path'], images)).as_posix()
        width, height = info['width'], info['height']
        coco['images'].append({'id': number, 'file_name': name, 'width': width, 'height': height})
        for instance in info['instances']:
            x1, y1, x2, y2 = instance['bbox']
            if not covers_image(instance['bbox'], width, height):
                continue
            annotation = {
                'id': len(coco['annotations']) + 1,
                'image_id': number,
                'category_id': 1,
                'bbox': [x1, y1, x2 - x1, y2 - y1],
                'area': (x2 - x1) * (y2 - y1),
                'iscrowd': instance['ignore_flag'],
            }
            if 'keypoints' in instance:
                annotation['keypoints'] = instance['keypoints']
                annotation['num_keypoints'] = sum(v > 0 for v in instance['keypoints'][2::3])
            coco['annotations'].append(annotation)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(coco), encoding='utf-8')
    return coco
