import itertools
import json

import pytest


@pytest.fixture(scope='session')
def write_coco(tmp_path_factory):
    """`write_coco({'img': ['cat', 'cat', 'dog']}, classes)` writes a COCO file with gaps in its ids."""
    folder = tmp_path_factory.mktemp('coco')
    numbers = itertools.count()

    def write(images, classes, first_id=3, name=None, extra=()):
        ids = {label: first_id + 7 * i for i, label in enumerate(classes)}
        annotations = [
            {'image_id': image, 'category_id': ids[label], 'iscrowd': 0}
            for image, labels in images.items()
            for label in labels
        ]
        annotations += [{**item, 'category_id': ids[item['category_id']]} for item in extra]
        for number, annotation in enumerate(annotations):
            annotation['id'] = number
        data = {
            'images': [{'id': image} for image in images],
            'categories': [{'id': ids[label], 'name': label} for label in classes],
            'annotations': annotations,
        }
        path = folder / (name or f'train_{next(numbers)}.json')
        path.write_text(json.dumps(data), encoding='utf-8')
        return path

    return write
