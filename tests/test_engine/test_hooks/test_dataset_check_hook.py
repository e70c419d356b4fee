import json
from types import SimpleNamespace

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import HOOKS, MODELS
from mmengine.dataset import RepeatDataset
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from PIL import Image
from torch import nn

from mmdet_ext.engine.hooks import DatasetCheckHook
from mmdet_ext.engine.hooks import dataset_check_hook as module
from mmdet_ext.graphs import CategoryGraph

PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': (64, 64)}, {'type': 'PackDetInputs'}]


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.zeros(1))


def make_model(num_classes=2):
    model = nn.Module()
    model.rpn_head = Head(1)
    model.bbox_head = nn.ModuleList([Head(2), Head(num_classes)])
    return model


@pytest.fixture
def dataset(tmp_path):
    init_default_scope('mmdet')
    images = [{'id': 1, 'file_name': '1.png', 'width': 40, 'height': 30}]
    boxes = [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10, 5], 'area': 50, 'iscrowd': 0}]
    data = {'images': images, 'annotations': boxes, 'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]}
    (tmp_path / 'train.json').write_text(json.dumps(data))
    Image.new('RGB', (40, 30)).save(tmp_path / '1.png')

    def build(classes=('a', 'b'), pipeline=PIPELINE):
        options = {'ann_file': 'train.json', 'data_prefix': {'img': ''}, 'metainfo': {'classes': classes}}
        return CocoDataset(data_root=str(tmp_path), pipeline=pipeline, **options)

    return build


def runner(train=None, val=None, test=None, model=None):
    # As in mmengine a runner without validation has no loop for it, and its `val_dataloader` fails.
    sets = {'train_loop': train, 'val_loop': val, 'test_loop': test}
    loops = {
        key: SimpleNamespace(dataloader=SimpleNamespace(dataset=value)) if value else None
        for key, value in sets.items()
    }
    return SimpleNamespace(model=model or make_model(), **loops)


def test_good_data_pass(dataset):
    hook = HOOKS.build({'type': 'DatasetCheckHook'})
    hook.before_train(runner(RepeatDataset(dataset(), 2), dataset()))
    hook.before_test(runner(test=dataset()))


def test_each_loader_is_checked_once(dataset, monkeypatch):
    calls = []
    monkeypatch.setattr(module, 'check_specs', lambda specs, *args: calls.append([s.where for s in specs]) or [])
    hook = DatasetCheckHook()
    this = runner(dataset(), dataset(), dataset())
    for call in (hook.before_train, hook.before_val, hook.before_val, hook.before_test):
        call(this)
    assert calls == [['train_dataloader.dataset', 'val_dataloader.dataset'], ['test_dataloader.dataset']]


def test_damaged_image_stops_training(dataset, tmp_path):
    built = dataset()
    (tmp_path / '1.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r"are empty files: '1\.png'"):
        DatasetCheckHook().before_train(runner(built))
    DatasetCheckHook(images='none').before_train(runner(built))
    DatasetCheckHook(strict=False).before_train(runner(built))


def test_classes_in_another_order(dataset):
    with pytest.raises(ValueError, match='another order than in `train_dataloader'):
        DatasetCheckHook().before_train(runner(dataset(('b', 'a'))))


def test_mmdet_numbers_labels_in_the_order_of_the_file(dataset):
    assert dataset(('b', 'a'))[0]['data_samples'] is not None
    assert dataset(('b', 'a')).get_data_info(0)['instances'][0]['bbox_label'] == 0  # 'a', which `classes` calls 1


def test_num_classes_of_a_cascade_stage(dataset):
    with pytest.raises(ValueError, match=r'model\.bbox_head\.1\.num_classes: `num_classes` is 80') as caught:
        DatasetCheckHook().before_train(runner(dataset(), model=make_model(80)))
    assert 'rpn_head' not in str(caught.value)
    model = make_model(80)
    model.tracker = nn.Identity()
    DatasetCheckHook().before_train(runner(dataset(), model=model))


def test_validation_without_resize_stops_before_training(dataset):
    with pytest.raises(ValueError, match=r'val_dataloader\.dataset\.pipeline: has no `Resize`'):
        DatasetCheckHook().before_train(runner(dataset(), dataset(pipeline=[PIPELINE[0], PIPELINE[2]])))


def test_other_ranks_get_the_outcome(dataset, monkeypatch):
    problem = module.Problem('error', 'train.json', 'is bad')
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    monkeypatch.setattr(module, 'broadcast_object_list', lambda outcome, src: outcome.__setitem__(0, [problem]))
    with pytest.raises(ValueError, match=r'train\.json: is bad'):
        DatasetCheckHook().before_train(runner(dataset()))


def test_wrapped_model(dataset, monkeypatch):
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = make_model(80)
    with pytest.raises(ValueError, match=r'model\.bbox_head\.1\.num_classes'):
        DatasetCheckHook().before_train(runner(dataset(), model=wrapper))


def test_wrong_option():
    with pytest.raises(ValueError, match="images must be 'sample', 'all' or 'none', but is 'some'"):
        DatasetCheckHook(images='some')


def test_category_graph_of_other_classes(dataset):
    model = make_model()
    model.relation = nn.Module()
    model.relation.graph = CategoryGraph.identity(('b', 'a'))
    with pytest.raises(ValueError, match=r'model\.relation\.graph.*does not fit the data set.*order'):
        DatasetCheckHook().before_train(runner(dataset(), model=model))
    model.relation.graph = CategoryGraph.identity(('a', 'b'))
    DatasetCheckHook().before_train(runner(dataset(), model=model))


def test_graph_of_coco_for_visual_genome(dataset, tmp_path):
    names = [f'class {i}' for i in range(3000)]
    data = json.loads((tmp_path / 'train.json').read_text())
    data['categories'] = [{'id': i, 'name': name} for i, name in enumerate(names, start=1)]
    (tmp_path / 'train.json').write_text(json.dumps(data))
    model = nn.Module()
    model.bbox_head = Head(3000)
    path = CategoryGraph.identity(names[:80]).save(tmp_path / 'coco.npz')
    model.bbox_head.relation = MODELS.build(dict(type='CategoryGraphRelation', in_channels=4, graph=str(path)))
    assert model.bbox_head.relation.adjacency.shape == (81, 81)
    with pytest.raises(ValueError, match=r'model\.bbox_head\.relation\.graph: .*does not fit the data set') as caught:
        DatasetCheckHook(images='none').before_train(runner(dataset(names), model=model))
    assert 'the graph has 80 classes, the data set 3000' in str(caught.value)


def test_what_our_tools_checked_is_not_read_again(dataset, monkeypatch):
    looked = []
    monkeypatch.setattr(module, 'check_specs', lambda specs, *_: looked.extend(spec.split for spec in specs) or [])
    DatasetCheckHook(checked=('train',)).before_train(runner(dataset(), dataset()))
    assert looked == ['val']
