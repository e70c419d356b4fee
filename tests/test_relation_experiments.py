"""The relation log's experiments: what each row changes, how it is measured, what it says when something is missing."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, small_config

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.launch import load_config, train
from mmdet_ext.graphs import CategoryGraph

pytestmark = pytest.mark.usefixtures('read_bases_once')
LOG = CONFIGS / 'relation_rcnn/experiments'
HEAD = 'model.roi_head.bbox_head'
ROIS = {'model.train_cfg.rcnn.sampler.num', 'model.test_cfg.rpn.max_per_img'}
EPOCHS = {'train_cfg.max_epochs', 'train_cfg.val_interval'}
# What a row changes in another one; places below a list count as that list.
DIFFERENCES = (
    ('two', 'zero', {'load_from'}),
    ('two', 'one', {f'{HEAD}.relations.graph'}),
    ('one', 'one_2', {f'{HEAD}.reg_source'}),
    ('three', 'three_b', {'load_from', *EPOCHS, 'param_scheduler', 'optim_wrapper.optimizer.lr', f'{HEAD}.reg_source'}),
    ('three_b', 'three_c', {'load_from', 'optim_wrapper.optimizer.lr', *ROIS}),
    ('three', 'four', {f'{HEAD}.relations.kernel', *EPOCHS, *ROIS}),
    ('four', 'five', {f'{HEAD}.relations.kernel'}),
    ('four', 'six', {f'{HEAD}.relations.kernel', f'{HEAD}.relations.n_kernels'}),
    ('seven', 'seven_2', {f'{HEAD}.reg_source', *EPOCHS}),
    ('seven', 'seven_3', {'load_from', *EPOCHS, 'param_scheduler', 'optim_wrapper.optimizer.lr'}),
    ('seven_3', 'seven_b', {f'{HEAD}.reg_source'}),
    ('seven_2', 'eight', {f'{HEAD}.relations.relations'}),
    ('eight', 'eight_2', {f'{HEAD}.reg_source'}),
    ('nine', 'nine_2', {f'{HEAD}.reg_source'}),
    ('original', 'ten', {'load_from', 'model.test_cfg.rpn.max_per_img'}),
    ('sc', 'sc_no_graph', {f'{HEAD}.relations.graph'}),
    ('sc', 'sc_no_attention', {f'{HEAD}.relations.attention'}),
    ('sc3_cat', 'sc3_non_cat', {f'{HEAD}.fusion'}),
    ('sc', 'diff1', {f'{HEAD}.relations.attention.mid_channels', f'{HEAD}.relations.attention.fc_act'}),
    ('sc', 'diff2', {f'{HEAD}.relations.order', f'{HEAD}.relations.reduce'}),
    ('sc', 'diff3', {f'{HEAD}.base_loss_weight'}),
    ('sc', 'diff4', {f'{HEAD}.relations.detach_pool'}),
    ('fpn', 'fpn1', {'train_dataloader.dataset.pipeline', 'train_dataloader.dataset.filter_cfg.filter_empty_gt'}),
    ('fpn1', 'fpn2', {f'{HEAD}.bg_weight'}),
    ('fpn2', 'fpn3', {'model.roi_head.mask_head.loss_mask.loss_weight'}),
    ('fpn3', 'fpn4', {'param_scheduler'}),
    *(('fpn3', f'fpn{row}', {f'{HEAD}.relations.relations'}) for row in ('5', '5_512', '5_fg64', '5_fg32')),
    *(('fpn3', f'fpn_{row}', {f'{HEAD}.relations.relations'}) for row in (5, 6, 7, 8)),
    ('base_cls', 'base_spa_cascade', {HEAD}),
    ('base_cls', 'yy_base_cls', {'train_dataloader.dataset.ann_file', 'train_dataloader.dataset.metainfo.source'}),
)
RELATIONS = {
    'two': 'CategoryGraph',
    'three': 'SpatialGraph',
    'seven': 'CategoryGraph SpatialGraph',
    'eight': 'CategoryGraph SpatialGraph',
    'nine': 'SoftMapping',
    'sc1': 'CategoryGraph SpatialGraph',
    'sc2': 'CategoryGraph PartContext',
    'sc2_objects': 'CategoryGraph GeometryAttention',
    'sc3_cat': 'PartContext',
    'fpn': 'CategoryGraph PartContext',
    'fpn5': 'CategoryGraph PartContext GeometryAttention',
    'fpn5_fg32': 'CategoryGraph PartContext ObjectPair',
    'fpn_5': 'CategoryGraph',
    'fpn_6': 'PartContext',
    'fpn_7': 'PartGeometry CategoryGraph',
    'fpn_8': 'CategoryGraph PartContext PartGeometry',
    'base_spa': 'PartGeometry',
}


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    """A few chest phantoms with their graphs."""
    folder = tmp_path_factory.mktemp('data') / 'chest_phantom'
    make_chest_phantom(folder, train=4, val=2, size=64, preview=False, progress=False)
    graph = CategoryGraph.from_coco(folder / 'annotations/train.json')
    for name in ('train', 'ten_classes'):
        graph.save(folder / f'{name}.catgraph.json')
    return folder


@pytest.fixture(autouse=True)
def _data(phantom, monkeypatch):
    init_default_scope('mmdet')
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(phantom))


def read(row: str) -> Config:
    return Config.fromfile(LOG / f'{row}.py')


def leaves(node, path: str = '') -> dict:
    """Dotted path to value, of what a Runner reads."""
    if isinstance(node, dict) and node:
        return {key: value for name, child in node.items() for key, value in leaves(child, f'{path}.{name}').items()}
    return {path[1:]: node}


@pytest.mark.parametrize(('before', 'after', 'changed'), DIFFERENCES, ids=[pair[1] for pair in DIFFERENCES])
def test_what_a_row_changes(before, after, changed):
    read_by_runner = {'model', 'load_from', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'}
    read_by_runner |= {'val_dataloader', 'val_evaluator', 'test_evaluator', 'custom_hooks'}
    one, two = (
        leaves({name: part for name, part in read(row).to_dict().items() if name in read_by_runner})
        for row in (before, after)
    )
    different = {key for key in {*one, *two} if one.get(key) != two.get(key)}
    # An option taken away as a whole leaves its own leaves behind.
    different = {next((key for key in changed if path.startswith(f'{key}.')), path) for path in different}
    assert different == changed


def relation_names(relation: dict | list) -> list[str]:
    members = relation if isinstance(relation, list) else relation.get('relations')
    if members is None:
        return [relation['type'].removesuffix('Relation')]
    return [name for member in members for name in relation_names(member)]


@pytest.mark.parametrize('row', RELATIONS)
def test_relations_of_a_row(row):
    assert relation_names(read(row).model.roi_head.bbox_head.relations) == RELATIONS[row].split()


def test_who_is_plain_and_who_is_a_cascade():
    for row in ('original', 'ten', 'base'):
        assert read(row).model.roi_head.bbox_head.get('relations') is None
    for row, stages in (('base_cls', 3), ('base_spa_cascade', 3), ('diff5', 4)):
        heads = read(row).model.roi_head.bbox_head
        assert [head.type for head in heads] == ['Shared2FCBBoxHead', *['RelationBBoxHead'] * (stages - 1)]
    assert read('seven').model.roi_head.bbox_head.relations.type == 'RelationSequence'
    assert read('sc1').model.roi_head.bbox_head.relations.type == 'RelationParallel'


def test_metrics_of_the_log(phantom):
    """Boxes that hit a third of each object are all right at IoU 0.01 and all wrong at 0.5."""
    data = json.loads((phantom / 'annotations/val.json').read_text())
    names = [category['name'] for category in data['categories']]
    scores = {}
    for cfg in read('original').val_evaluator:
        metric = METRICS.build(cfg)
        metric.dataset_meta = dict(classes=names)
        for image in data['images']:
            own = [ann for ann in data['annotations'] if ann['image_id'] == image['id']]
            x, y, w, h = torch.tensor([ann['bbox'] for ann in own]).reshape(-1, 4).unbind(-1)
            found = dict(
                bboxes=torch.stack([x, y, x + w / 3, y + h], dim=-1),
                scores=torch.ones(len(own)),
                labels=torch.tensor([ann['category_id'] - 1 for ann in own]),
            )
            metric.process({}, [dict(img_id=image['id'], ori_shape=(64, 64), pred_instances=found)])
        scores.update(metric.evaluate(size=len(data['images'])))
    assert scores['iou01/bbox_mAP'] == 1
    assert scores['iou50/bbox_mAP'] == 0
    assert scores['coco/bbox_mAP'] == 0
    assert {name for name in scores if name.startswith('iou')} == {'iou01/bbox_mAP', 'iou50/bbox_mAP'}


def test_dropped_negatives(phantom, tmp_path):
    """Only `fpn` leaves images without objects out."""
    shutil.copytree(phantom, tmp_path / 'phantom')
    file = tmp_path / 'phantom/annotations/train.json'
    data = json.loads(file.read_text())
    first = data['images'][0]['id']
    data['annotations'] = [ann for ann in data['annotations'] if ann['image_id'] != first]
    file.write_text(json.dumps(data))
    shown = {ann['image_id'] for ann in data['annotations']}
    for row, number in (('fpn', len(shown)), ('fpn1', 4), ('base', 4)):
        cfg = read(row).train_dataloader.dataset
        cfg.data_root = f'{tmp_path}/phantom/'
        assert len(DATASETS.build(cfg)) == number
    assert len(shown) < 4


@pytest.mark.parametrize('row', ['one_2', 'seven', 'sc3_non_cat'])
def test_rows_start_as_the_original(row):
    plain = MODELS.build(small_config(LOG / 'original.py').model)
    ours = MODELS.build(small_config(LOG / f'{row}.py').model)
    ours.load_state_dict(plain.state_dict(), strict=False)
    head = ours.roi_head.bbox_head
    assert head.warm_start_report is not None
    width = plain.roi_head.bbox_head.fc_cls.in_features
    torch.testing.assert_close(head.fc_cls.weight[:, :width], plain.roi_head.bbox_head.fc_cls.weight)
    assert not head.fc_cls.weight[:, width:].any()


def test_a_row_that_starts_from_another_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for row, first in (('one', 'original'), ('three_c', 'three_b'), ('seven_b', 'seven')):
        with pytest.raises(FileNotFoundError, match=rf'python tools/train\.py .*/experiments/{first}\.py'):
            train(LOG / f'{row}.py', work_dir=tmp_path / row)


def test_data_that_are_missing_are_named(tmp_path):
    nowhere = {'train_dataloader.dataset.data_root': str(tmp_path)}
    with pytest.raises(ValueError, match=r'to get the data: python tools/dataset_tools/make_chest_phantom\.py'):
        train(LOG / 'original.py', work_dir=tmp_path / 'run', cfg_options=nowhere)


def test_the_annotator_whose_data_are_private(tmp_path):
    with pytest.raises(ValueError, match=r'the annotations of yangyan123 are private'):
        train(LOG / 'yy_base_cls.py', work_dir=tmp_path / 'run')


def test_on_real_radiographs(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDET_EXT_CHESTX_DET', str(tmp_path))
    classes = Config.fromfile(CONFIGS / '_base_/datasets/chestx_det.py').metainfo.classes
    CategoryGraph.identity(classes).save(tmp_path / 'ten_classes.catgraph.json')
    cfg = load_config(LOG / 'one.py', dataset=LOG / '_base_/chestx_det.py')
    assert Path(cfg.model.roi_head.bbox_head.relations.graph) == tmp_path / 'ten_classes.catgraph.json'
    assert [metric.get('prefix') for metric in cfg.val_evaluator] == [None, 'iou01', 'iou50']
    assert all(metric.ann_file.startswith(str(tmp_path)) for metric in cfg.val_evaluator)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.roi_head.bbox_head.num_classes == model.roi_head.mask_head.num_classes == 13
