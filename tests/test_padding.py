"""Batches are padded to a multiple of 32, the largest stride of a backbone, where a config does not fix their size."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from test_models.small_detector import CONFIGS

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known)

pytestmark = pytest.mark.usefixtures('read_bases_once')
# One of each family.
PADDED = (
    'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'scratch_gn/mask-rcnn_r18-gn_fpn_chest-phantom.py',
    'scratch_gn/fcos_r18-gn_fpn_deeppcb-tiles.py',
    'relation_rcnn/all-relations-cascade-mask-rcnn_r18-gn_fpn_chest-phantom.py',
    'single_shot/single-shot_r18-gn_fpn_bccd.py',
    'single_shot/single-shot_r18-gn_concat_bccd.py',
    'single_shot/single-shot_d53_fpn_1x_coco.py',
    'single_shot/single-shot_r50_fpn_2e_voc07.py',
    'retina_face/retina-face_mnet025_fpn-ssh_4xb8-250e_wider-face.py',
    'yolo_iou/yolo-iou_r18-gn_bccd.py',
    'ciou/retinanet_r50_fpn_ciou-1x_coco.py',
    'ghm/retinanet_r50_fpn_ghm-level-1x_coco.py',
)
# These need not: every picture is resized to one size, whatever its shape.
FIXED = {'single_shot/single-shot_vgg16_ssd300_coco.py': (300, 300), 'single_shot/experiments/ohem.py': (550, 550)}


def padded(path, *sizes):
    """Shape of the batch that a config makes of pictures (height, width)."""
    init_default_scope('mmdet')
    cfg = dict(Config.fromfile(CONFIGS / path).model.data_preprocessor)
    cfg.pop('batch_augments', None)
    samples = [DetDataSample(gt_instances=InstanceData(bboxes=torch.zeros(0, 4))) for _ in sizes]
    for sample, (height, width) in zip(samples, sizes, strict=True):
        sample.set_metainfo(dict(img_shape=(height, width)))
    images = [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes]
    processed = MODELS.build({**cfg, 'pad_mask': False})(dict(inputs=images, data_samples=samples))
    assert {tuple(s.batch_input_shape) for s in processed['data_samples']} == {tuple(processed['inputs'].shape[2:])}
    return tuple(processed['inputs'].shape[2:])


@pytest.mark.parametrize('path', PADDED)
def test_a_batch_is_as_large_as_its_largest_picture_and_a_multiple_of_32(path):
    assert padded(path, (70, 33), (64, 97)) == (96, 128)
    assert padded(path, (64, 96)) == (64, 96)


@pytest.mark.parametrize('path', FIXED)
def test_pictures_of_one_size_stay_as_they_are(path):
    assert padded(path, FIXED[path]) == FIXED[path]
    pipeline = Config.fromfile(CONFIGS / path).train_dataloader.dataset
    pipeline = pipeline.get('dataset', pipeline).pipeline
    (resize,) = [step for step in pipeline if step.type == 'Resize']
    assert (tuple(resize.scale), resize.keep_ratio) == (FIXED[path], False)
