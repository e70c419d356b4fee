"""Every config parses and builds; the distinct sets of modules, and among the slow tests all, train and predict."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.models.detectors import RPN
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from test_models.small_detector import CONFIGS, DEMO, MASK, small_config, small_mask_config

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known)
from mmdet_ext.datasets.chest_phantom import PARTS as PART_NAMES
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.config_check import check_config
from mmdet_ext.engine.dataset_overlay import class_names, overlay_dataset
from mmdet_ext.graphs import CategoryGraph

pytestmark = pytest.mark.usefixtures('read_bases_once')
FILES = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
GRAPH = CONFIGS / 'relation_rcnn/category-graph-faster-rcnn_r18-gn_fpn_chest-phantom.py'
ALL = str(CONFIGS / 'relation_rcnn/all-relations-{}_r18-gn_fpn_chest-phantom.py')
LOG = CONFIGS / 'relation_rcnn/experiments'
SINGLE_SHOT = CONFIGS / 'single_shot'
ONE_STAGE_LOG = SINGLE_SHOT / 'experiments'
FACES = CONFIGS / 'retina_face'
PARTS = CONFIGS / '_base_/datasets/chest_phantom_parts.py'
SMALL = {
    'plain': lambda: small_config(CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'),
    'relation': lambda: small_config(DEMO),
    'mask': lambda: small_config(MASK),
    'relation_mask': small_mask_config,
    'relation_graph': lambda: small_config(GRAPH),
    'relation_all': lambda: small_config(ALL.format('faster-rcnn')),
    'relation_all_mask': lambda: small_config(ALL.format('mask-rcnn')),
    'relation_c4_mask': lambda: small_config(LOG / 'seven.py'),
    'relation_parts_c4_mask': lambda: small_config(LOG / 'sc2.py'),
    'cascade_all_mask': lambda: small_config(ALL.format('cascade-mask-rcnn')),
    'ciou_rpn': lambda: small_config(CONFIGS / 'ciou/faster-rcnn_r50_fpn_ciou-rpn-1x_coco.py'),
    'ciou_rcnn': lambda: small_config(CONFIGS / 'ciou/faster-rcnn_r50_fpn_ciou-1x_coco.py'),
    'ciou_retina': lambda: small_config(CONFIGS / 'ciou/retinanet_r50_fpn_ciou-1x_coco.py'),
    'ghm_batch': lambda: small_config(CONFIGS / 'ghm/single-shot_r50_fpn_ghm-1x_coco.py'),
    'ghm_level': lambda: small_config(CONFIGS / 'ghm/retinanet_r50_fpn_ghm-level-1x_coco.py'),
    'focal': lambda: small_config(CONFIGS / 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py'),
    'dcn': lambda: small_config(CONFIGS / 'single_shot/single-shot_r50-dcn_fpn_1x_coco.py'),
    'darknet': lambda: small_config(CONFIGS / 'single_shot/single-shot_d53_fpn_1x_coco.py'),
    'yolo': lambda: small_config(CONFIGS / 'yolo_iou/yolo-iou_r18-gn_bccd.py'),
    'resnext': lambda: small_config(SINGLE_SHOT / 'single-shot_x101-32x4d_fpn_1x_coco.py'),
    'concat': lambda: small_config(SINGLE_SHOT / 'single-shot_r18-gn_concat_bccd.py'),
    'deconv': lambda: small_config(SINGLE_SHOT / 'single-shot_r18-gn_fpn-deconv_bccd.py'),
    'voc': lambda: small_config(SINGLE_SHOT / 'single-shot_r50_fpn_2e_voc07.py'),
    'rpn': lambda: small_config(CONFIGS / 'scratch_gn/rpn_r18-gn_fpn_600i_chest-phantom-screened.py'),
    'fcos': lambda: small_config(CONFIGS / 'scratch_gn/fcos_r18-gn_fpn_deeppcb-tiles.py'),
    'ohem': lambda: small_config(ONE_STAGE_LOG / 'ohem.py'),
    'faces': lambda: small_config(FACES / 'retina-face_mnet025_fpn-ssh_4xb8-250e_wider-face.py'),
    'faces_gn': lambda: small_config(FACES / 'retina-face_r18-gn_fpn-ssh_face-phantom.py'),
    'faces_vgg': lambda: small_config(FACES / 'retina-face_vgg16_fpn-ssh_4xb8-100e_wider-face.py'),
    'yolo_assigner': lambda: small_config(ONE_STAGE_LOG / 'iou_110_70.py'),
}


def names(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


@pytest.fixture(scope='module')
def chest_phantom(tmp_path_factory):
    """A few chest phantoms with the category graph that configs want."""
    folder = tmp_path_factory.mktemp('data') / 'chest_phantom'
    make_chest_phantom(folder, train=4, val=2, size=64, preview=False, progress=False)
    graph = CategoryGraph.from_coco(folder / 'annotations/train.json')
    graph.save(folder / 'train.catgraph.json')
    graph.save(folder / 'ten_classes.catgraph.json')
    shutil.copy(folder / 'annotations/train.json', folder / 'annotations/train_yangyan123.json')
    return folder


@pytest.fixture(autouse=True)
def data(chest_phantom, monkeypatch):
    """Folders of the data sets, named by the environment; of ChestX-Det and COCO there is a graph alone."""
    classes = Config.fromfile(CONFIGS / '_base_/datasets/chestx_det.py').metainfo.classes
    chestx_det = chest_phantom.with_name('chestx_det')
    CategoryGraph.identity(classes).save(chestx_det / 'train.catgraph.json')
    coco = chest_phantom.with_name('coco')
    CategoryGraph.identity(CocoDataset.METAINFO['classes']).save(coco / 'train2017.catgraph.json')
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(chest_phantom))
    monkeypatch.setenv('MMDET_EXT_CHESTX_DET', str(chestx_det))
    monkeypatch.setenv('MMDET_EXT_COCO', str(coco))


def test_there_are_configs_and_their_names_are_unique():
    assert FILES
    twice = [name for name, number in Counter(path.name for path in FILES).items() if number > 1]
    assert twice == []


def test_folders_can_be_python_paths():
    assert [folder.name for folder in CONFIGS.iterdir() if '-' in folder.name] == []


@pytest.mark.parametrize('path', FILES, ids=names)
def test_builds(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_imports == dict(imports=['mmdet_ext'], allow_failed_imports=False)
    assert cfg.default_scope == 'mmdet'
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0
    # The class names of every data set are as many as the heads' classes.
    part = model.roi_head if hasattr(model, 'roi_head') else model.bbox_head
    heads = [module for module in part.modules() if hasattr(module, 'num_classes')]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        classes = 1 if isinstance(model, RPN) else count_classes(loader.dataset)
        assert {head.num_classes for head in heads} == {classes}


@pytest.mark.parametrize('name', SMALL)
def test_trains_a_step_and_predicts(name):
    logged = train_a_step_and_predict(SMALL[name]())
    assert ('loss_cls_base' in logged) == ('relation' in name)
    masks = [value.item() for key, value in logged.items() if 'loss_mask' in key]
    assert len(masks) == (0 if 'mask' not in name else 3 if 'cascade' in name else 1)
    # Binary cross entropy of a fresh mask head, times the weight of the stage; 2.5e-5 once told of wrong boxes.
    assert all(0.1 < value < 1.5 for value in masks)


@pytest.mark.slow
@pytest.mark.parametrize('path', FILES, ids=names)
def test_every_config_trains_a_step_and_predicts(path):
    assert train_a_step_and_predict(small_config(path))['loss'] > 0


def test_the_phantom_with_parts():
    init_default_scope('mmdet')
    cfg = Config.fromfile(PARTS)
    assert cfg.part_names == PART_NAMES
    assert check_config(cfg) == []
    for split, number in (('train', 4), ('val', 2)):
        loader = Runner.build_dataloader(cfg[f'{split}_dataloader'])
        samples = [sample for batch in loader for sample in batch['data_samples']]
        assert len(samples) == number
        for sample in samples:
            assert tuple(sample.parts.bboxes.shape) == (5, 4)
            assert sample.parts.valid.all()
            assert sample.part_names == PART_NAMES
            # The left lung lies at the right of the picture, flipped or not.
            assert sample.parts.bboxes[0, 0] > sample.parts.bboxes[1, 2]
            assert tuple(sample.img_shape) == (160, 160)


def count_classes(dataset: dict) -> int:
    """Of the config of a data set, or those its class is born with."""
    return len(class_names(dataset))


def batches(cfg: Config) -> tuple[dict, dict]:
    """A batch for training and one for testing: the phantom where parts are wanted, else random images.

    Instead of other data with parts the phantom is laid over the config. The second random image has no objects.
    """
    if 'part_names' in cfg:
        if Path(cfg.train_dataloader.dataset.data_root).name != 'chest_phantom':
            overlay_dataset(cfg, Config.fromfile(PARTS))
        loaders = (Runner.build_dataloader(cfg[f'{split}_dataloader']) for split in ('train', 'val'))
        train, test = (next(iter(loader)) for loader in loaders)
        return train, test
    classes = count_classes(cfg.train_dataloader.dataset)
    masks = bool(cfg.model.get('roi_head', {}).get('mask_head'))
    backbone = cfg.model.backbone
    # SSD has one size. Deformable convs (v1) take no map that is smaller than their kernel.
    small = (96, 96) if backbone.get('dcn') else (64, 96)
    shapes = [(3, cfg.input_size, cfg.input_size) if 'input_size' in cfg else (3, *small)] * 2
    # Its labels start with 1, so that one class alone must be asked for as two.
    data = demo_mm_inputs(2, image_shapes=shapes, num_items=[2, 0], num_classes=max(classes, 2), with_mask=masks)
    for sample in data['data_samples']:
        sample.gt_instances.labels.clamp_(max=classes - 1)
        if cfg.model.get('bbox_head', {}).get('type') == 'RetinaFaceHead':
            points = sample.gt_instances.bboxes.reshape(-1, 2, 2).mean(1, keepdim=True).expand(-1, 5, 2)
            sample.gt_instances.keypoints = torch.cat([points, torch.full_like(points[..., :1], 2)], dim=-1)
    return data, data


def train_a_step_and_predict(cfg: Config) -> dict[str, torch.Tensor]:
    """One SGD step, then a prediction; gives the logged losses."""
    init_default_scope('mmdet')
    train, test = batches(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Prediction overflows with statistics that are not those of the weights.
            module.momentum = 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model.train().forward(**model.data_preprocessor(train, True), mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    unused = [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert unused == []
    optimizer.step()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    # Fresh C4 features may be so large that every box is background, with a score of exactly 1.
    test_cfg = model.test_cfg.get('rcnn', model.test_cfg)
    test_cfg.update(score_thr=-1.0, conf_thr=-1)
    with torch.no_grad():
        results = model.eval().test_step(test)
    assert [len(result.pred_instances) > 0 for result in results] == [True, True]
    return logged
