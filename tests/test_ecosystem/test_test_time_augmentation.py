"""`tools/test.py --tta` on our detectors: plain and flipped views are merged."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet_ext.engine.launch import test as run_test
from tests.tiny_coco import data_config

from .conftest import KINDS, Trained

pytestmark = pytest.mark.xdist_group('ecosystem')
SIZE = 64


def mirror(one: Trained, folder: Path) -> Path:
    """A data config of the same pictures, mirrored."""
    folder.joinpath('images').mkdir()
    data = json.loads(one.images.with_name('ann.json').read_text())
    for row in data['annotations']:
        x, y, w, h = row['bbox']
        row['bbox'] = [SIZE - x - w, y, w, h]
        del row['segmentation']
    for image in data['images']:
        picture = cv2.imread(str(one.images / image['file_name']))
        cv2.imwrite(str(folder / 'images' / image['file_name']), picture[:, ::-1])
    folder.joinpath('ann.json').write_text(json.dumps(data))
    config = folder / 'mirrored.py'
    config.write_text(data_config({'ann': str(folder / 'ann.json'), 'images': str(folder / 'images')}))
    return config


@pytest.mark.filterwarnings('ignore:The config has no tta_')
@pytest.mark.parametrize('kind', KINDS)
def test_a_mirrored_picture_gives_mirrored_boxes(trained: dict[str, Trained], kind: str, tmp_path: Path) -> None:
    """A picture and its mirror image have the same two views, so the merged boxes are mirror images too."""
    one = trained[kind]
    found, figures = [], []
    for dataset in (None, mirror(one, tmp_path)):
        out = tmp_path / 'out.pkl'
        figures.append(run_test(one.config, one.checkpoint, work_dir=tmp_path, out=str(out), tta=True, dataset=dataset))
        found.append([result['pred_instances'] for result in pickle.loads(out.read_bytes())])
    assert figures[0] == pytest.approx(figures[1], abs=0.02)
    for plain, mirrored in zip(*found, strict=True):
        top = slice(0, 10)
        np.testing.assert_allclose(plain['scores'][top], mirrored['scores'][top], atol=1e-4)
        boxes = mirrored['bboxes'][top].numpy()
        boxes = np.stack([SIZE - boxes[:, 2], boxes[:, 1], SIZE - boxes[:, 0], boxes[:, 3]], axis=1)
        np.testing.assert_allclose(plain['bboxes'][top], boxes, atol=0.01)
    alone = [result['pred_instances'] for result in pickle.loads(one.predictions.read_bytes())]
    assert any(not np.array_equal(a['bboxes'], b['bboxes']) for a, b in zip(alone, found[0], strict=True))
