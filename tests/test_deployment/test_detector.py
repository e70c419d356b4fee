from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmdet_ext.deployment.detector import DeployedDetector, PlainDetector, check_exportable
from mmdet_ext.deployment.parity import Found, run_torch
from mmdet_ext.deployment.support import detector_inputs

from .export_case import (
    CLASSES,
    CONTEXT,
    PARTS,
    RELATIONS,
    assert_same,
    build,
    cascade,
    one_stage,
    picture,
    sample,
    two_stage,
)

GRAPH = [dict(type='GeometryAttentionRelation', heads=2, key_dim=8, geom_dim=16, keys='topk', key_num=5)]
SEQUENCE = dict(
    type='RelationSequence',
    relations=[
        dict(type='SpatialGraphRelation', layers=[16], learner=[8], topk=4, n_kernels=2),
        dict(type='ObjectPairRelation', key_num=30, em_dim=8, proj=16),
    ],
)
ATTENTION = dict(levels=[0, 1], in_channels=16, mid_channels=8, strides=[4, 8, 16])


def pooled() -> Config:
    """A box head without fcs, as behind a shared head."""
    cfg = two_stage()
    cfg.roi_head.bbox_head = dict(
        type='BBoxHead', in_channels=16, roi_feat_size=4, num_classes=len(CLASSES), with_avg_pool=True
    )
    return cfg


DETECTORS = {
    'plain': two_stage(),
    'BBoxHead': pooled(),
    'relations without fcs': two_stage(RELATIONS, num_shared_fcs=0, with_avg_pool=True),
    'class-agnostic boxes': two_stage(reg_class_agnostic=True),
    'relations': two_stage(RELATIONS),
    'keys by score': two_stage(GRAPH),
    'sequence': two_stage([SEQUENCE, dict(type='SoftMappingRelation', out_channels=8, mapping='argmax')]),
    'image attention': two_stage([dict(type='CategoryGraphRelation', out_channels=8, attention=ATTENTION)]),
    'after each layer': two_stage([CONTEXT], insert='after_each_fc', fusion='gate', reg_source='base'),
    'cascade': cascade([None] * 3),
    'relational cascade': cascade([None, [dict(type='ObjectCountRelation')], RELATIONS]),
    'SingleShotHead': one_stage(),
    'every candidate': one_stage(test_cfg=dict(nms_pre=-1)),
    'RetinaFaceHead': one_stage('RetinaFaceHead'),
    'without landmarks': one_stage('RetinaFaceHead', num_landmarks=0),
    'YOLOIoUHead': one_stage('YOLOIoUHead', scale_xy=1.1),
    'YOLOV3Head': one_stage('YOLOV3Head'),
    'RetinaHead': one_stage('RetinaHead'),
}


def detect(model: Any, data: dict[str, Any]) -> Any:
    detector = DeployedDetector(model)
    with torch.no_grad():
        return detector(*detector_inputs(data, detector.part_names))


@pytest.mark.parametrize('name', DETECTORS)
def test_finds_what_mmdet_finds(name: str) -> None:
    model = build(DETECTORS[name])
    data = sample(picture(), parts=True)
    assert_same(model, data, detect(model, data))


@pytest.mark.parametrize(
    'name', ['relations', 'relational cascade', 'image attention', 'RetinaFaceHead', 'YOLOIoUHead']
)
def test_batch_of_images(name: str) -> None:
    """Each image as if it were alone, with another number of proposals, and without one part."""
    model = build(DETECTORS[name])
    batch = [
        sample(image, parts=True, seed=i) for i, image in enumerate([picture(), picture(seed=3) // 8, picture(seed=5)])
    ]
    detector = DeployedDetector(model)
    inputs = zip(*(detector_inputs(data, detector.part_names) for data in batch), strict=True)
    with torch.no_grad():
        found = detector(*map(torch.cat, inputs))
    for i, data in enumerate(batch):
        own = type(found)(*(None if x is None else x[i : i + 1] for x in found))
        assert_same(model, data, own, least=0)


def test_rows_without_detection_are_marked() -> None:
    model = build(one_stage(test_cfg=dict(score_thr=0.999)))
    found = detect(model, sample(picture()))
    there = found.labels[0] >= 0
    assert (~there).sum() > 0
    assert found.scores[0][~there].eq(0).all()
    assert found.boxes.shape == (1, 15, 4)


def test_nothing_found() -> None:
    model = build(two_stage(RELATIONS))
    model.test_cfg.rcnn.score_thr = 1.0
    found = detect(model, sample(picture(), parts=True))
    assert found.labels.eq(-1).all()
    plain = PlainDetector(DeployedDetector(model))
    boxes, scores, labels, image = plain(*detector_inputs(sample(picture(), parts=True), ('right', 'left')))
    assert [len(x) for x in (boxes, scores, labels, image)] == [0] * 4
    assert boxes.shape == (0, 4)


def test_plain_detector_lists_detections() -> None:
    model = build(one_stage('RetinaFaceHead'))
    images = torch.stack([picture(), picture(seed=1)])
    boxes, scores, labels, image, keypoints = PlainDetector(DeployedDetector(model))(images)
    assert keypoints.shape == (len(boxes), 5, 2)
    for place in range(2):
        own = image == place
        reference = run_torch(model, sample(images[place]))
        torch.testing.assert_close(scores[own], torch.from_numpy(reference.scores))
        torch.testing.assert_close(keypoints[own], torch.from_numpy(reference.keypoints))
        assert labels[own].tolist() == reference.labels.tolist()


def test_normalizes_as_the_data_preprocessor() -> None:
    model = build(one_stage())
    image = picture(70, 90)
    batch = model.data_preprocessor(dict(inputs=[image], data_samples=[DetDataSample()]), False)
    ours = DeployedDetector(model).normalize(image[None])
    assert ours.shape == (1, 3, 96, 96)
    assert torch.equal(ours, batch['inputs'])


def test_raw_images_pass_a_preprocessor_without_options() -> None:
    cfg = one_stage()
    cfg.data_preprocessor = dict(type='DetDataPreprocessor')
    image = picture()
    assert torch.equal(DeployedDetector(build(cfg)).normalize(image[None]), image[None].float())


def test_part_names_in_the_order_of_the_inputs() -> None:
    detector = DeployedDetector(build(two_stage(RELATIONS)))
    assert (detector.with_parts, detector.part_names) == (True, PARTS[::-1])
    assert not DeployedDetector(build(two_stage(GRAPH))).with_parts


def test_parts_are_asked_for() -> None:
    detector = DeployedDetector(build(two_stage([CONTEXT])))
    with pytest.raises(ValueError, match=r"needs part_boxes and part_valid of the parts \('left', 'right'\)"):
        detector(picture()[None])


def refused(cfg: Config) -> str:
    with pytest.raises(ValueError, match='export') as info:
        check_exportable(MODELS.build(cfg))
    return str(info.value)


def fcos() -> Config:
    cfg = one_stage()
    cfg.type = 'FCOS'
    cfg.bbox_head = dict(type='FCOSHead', num_classes=len(CLASSES), in_channels=16, strides=[4, 8, 16])
    return cfg


def test_other_dense_head() -> None:
    message = refused(fcos())
    assert message.startswith('FCOS with FCOSHead cannot be exported; what exports are one-stage detectors with')
    assert 'RetinaFaceHead' in message
    assert 'RelationBBoxHead' in message


def test_subclass_may_predict_in_its_own_way() -> None:
    model = build(one_stage())
    model.bbox_head.__class__ = type('MyHead', (type(model.bbox_head),), {})
    with pytest.raises(ValueError, match='SingleStageDetector with MyHead cannot be exported'):
        check_exportable(model)


def test_mask_branch() -> None:
    cfg = two_stage()
    cfg.roi_head.mask_roi_extractor = cfg.roi_head.bbox_roi_extractor
    cfg.roi_head.mask_head = dict(type='FCNMaskHead', in_channels=16, num_classes=3)
    assert 'the mask branch cannot be exported; for the boxes alone leave out mask_head' in refused(cfg)


def test_other_box_head() -> None:
    cfg = two_stage()
    cfg.roi_head.bbox_head = dict(type='SABLHead', num_classes=3)
    assert 'FasterRCNN with bbox_head SABLHead cannot be exported' in refused(cfg)


def test_generic_extractor() -> None:
    cfg = two_stage()
    cfg.roi_head.bbox_roi_extractor.pop('finest_scale')
    cfg.roi_head.bbox_roi_extractor.type = 'GenericRoIExtractor'
    assert 'bbox_roi_extractor GenericRoIExtractor cannot be exported' in refused(cfg)


def test_maximum_pooling() -> None:
    cfg = two_stage()
    cfg.roi_head.bbox_roi_extractor.roi_layer.pool_mode = 'max'
    assert "only RoIAlign with pool_mode='avg' has an equal in ONNX" in refused(cfg)


def test_deformable_convolution() -> None:
    cfg = one_stage()
    cfg.bbox_head.update(shared_convs=1, conv_cfg=dict(type='DCNv2'))
    assert 'ModulatedDeformConv2dPack of mmcv.ops cannot be exported' in refused(cfg)


@pytest.mark.parametrize('place', ['rpn', 'rcnn'])
def test_soft_nms(place: str) -> None:
    cfg = two_stage()
    cfg.test_cfg[place].nms = dict(type='soft_nms', iou_threshold=0.5)
    assert f'FasterRCNN, test_cfg.{place}: nms=' in refused(cfg)


def test_number_of_proposals() -> None:
    cfg = two_stage()
    cfg.test_cfg.rpn.max_per_img = -1
    assert 'needs test_cfg.rpn.max_per_img, the number of proposals' in refused(cfg)


def test_without_test_cfg() -> None:
    cfg = one_stage()
    cfg.test_cfg = None
    assert 'the export needs test_cfg' in refused(cfg)


@pytest.mark.parametrize('cfg', [one_stage('RetinaHead'), two_stage()])
def test_scores_of_a_loss(cfg: Config) -> None:
    model = build(cfg)
    head = model.roi_head.bbox_head if hasattr(model, 'roi_head') else model.bbox_head
    head.loss_cls.custom_cls_channels = head.loss_cls.custom_activation = True
    with pytest.raises(ValueError, match='has scores of its own, which cannot be exported'):
        check_exportable(model)


def test_anything_else() -> None:
    with pytest.raises(ValueError, match='Linear with no head cannot be exported'):
        check_exportable(torch.nn.Linear(1, 1))


def test_detections_of_the_comparison_can_differ() -> None:
    """What the tests above rest on sees a moved box."""
    model, data = build(one_stage()), sample(picture())
    found = run_torch(model, data)
    moved = Found(found.boxes + 0.2, found.scores, found.labels)
    with pytest.raises(AssertionError):
        assert_same(model, data, moved)


def test_the_fast_extractor_is_exported_as_the_plain_one() -> None:
    cfg = two_stage()
    cfg.roi_head.bbox_roi_extractor.type = 'FastRoIExtractor'
    check_exportable(MODELS.build(cfg))
