"""The table of a detector's modules, for detectors of several families."""

import csv

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from test_models.small_detector import CONFIGS, DEMO, MASK, small_config
from torch import nn

from mmdet_ext.analysis.shape_table import Row, make_rows, run_shape_table, table_cells
from tests.tiny_coco import make_tiny_coco, tiny_config

DETR = dict(
    type='DETR',
    num_queries=5,
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=1),
    backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(3,), norm_cfg=dict(type='BN')),
    neck=dict(type='ChannelMapper', in_channels=[64], kernel_size=1, out_channels=16, num_outs=1, act_cfg=None,
              norm_cfg=None),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=dict(embed_dims=16, num_heads=2),
                                              ffn_cfg=dict(embed_dims=16, feedforward_channels=8))),
    decoder=dict(num_layers=2, layer_cfg=dict(self_attn_cfg=dict(embed_dims=16, num_heads=2),
                                              cross_attn_cfg=dict(embed_dims=16, num_heads=2),
                                              ffn_cfg=dict(embed_dims=16, feedforward_channels=8)),
                 return_intermediate=True),
    positional_encoding=dict(num_feats=8, normalize=True),
    bbox_head=dict(type='DETRHead', num_classes=2, embed_dims=16),
    test_cfg=dict(max_per_img=5),
)  # fmt: skip
FCOS = dict(
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN')),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5, start_level=1,
              add_extra_convs='on_output'),
    bbox_head=dict(type='FCOSHead', num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1, norm_cfg=None),
    test_cfg=dict(nms_pre=10, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
)  # fmt: skip


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    config = folder / 'tiny.py'
    config.write_text(tiny_config(make_tiny_coco(folder / 'data', n=1)))
    return config


def run(config, **options):
    said = []
    return run_shape_table(config, say=said.append, **options), said


def by_name(result):
    return {row.name: row for row in result['rows']}


def test_shapes_and_sums(tiny):
    result, said = run(tiny)
    rows = by_name(result)
    assert result['size'] == (64, 64)
    assert rows['backbone'].output == '[1x32x4x4, 1x64x2x2]'
    assert rows['bbox_head.retina_cls'].output == '1x2x4x4; 1x2x2x2'
    assert rows['bbox_head.retina_cls'].calls == 2
    # Its `forward` is called by name.
    assert rows['bbox_head'].output == '[[1x2x4x4, 1x2x2x2], [1x4x4x4, 1x4x2x2]]'
    assert rows['bbox_head.retina_cls'].parameters == 16 * 9 * 2 + 2
    assert (rows['bbox_head.loss_cls'].output, rows['bbox_head.loss_cls'].calls) == ('–', 0)
    model = MODELS.build(Config.fromfile(tiny).model)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert sum(row.parameters for row in result['rows']) == result['parameters'] == total
    assert said[0] == "1 image(s) of 64 x 64, padded to 64 x 64, mode 'tensor'\n"
    assert said[-1] == f'\nParameters: {total:,} ({total:,} trainable); in these rows {total:,}.'
    assert len(rows) == len(list(model.named_modules()))


@pytest.mark.parametrize('depth', [0, 1, 2])
def test_a_depth_hides_modules_and_keeps_their_parameters(tiny, depth):
    result, _ = run(tiny, depth=depth)
    assert max(len(name.split('.')) for name in by_name(result) if name or depth == 0) == max(depth, 1)
    assert sum(row.parameters for row in result['rows']) == result['parameters']
    if depth == 1:
        assert set(by_name(result)) == {'', 'data_preprocessor', 'backbone', 'neck', 'bbox_head'}
        assert by_name(result)['neck'].parameters == sum(
            row.parameters for row in run(tiny)[0]['rows'] if row.name.startswith('neck')
        )


def test_names_sizes_and_batches(tiny):
    result, _ = run(tiny, name=r'^neck\.fpn', size=[33, 96], batch=2)
    assert {name.rsplit('.', 1)[0] for name in by_name(result)} <= {
        'neck', 'neck.fpn_convs', 'neck.fpn_convs.0', 'neck.fpn_convs.1',
    }  # fmt: skip
    # Padded to 64 x 96.
    assert by_name(result)['neck.fpn_convs.0'].output == '2x16x4x6'


def test_operations_and_files(tiny, tmp_path):
    result, said = run(tiny, flops=True, out=tmp_path / 'sub' / 't.csv', depth=1)
    rows = by_name(result)
    assert rows[''].flops == pytest.approx(sum(rows[name].flops or 0 for name in ('backbone', 'neck', 'bbox_head')))
    assert said[-1].endswith('GFLOPs: {:.3f}, a multiplication with its addition counted as one.'.format(
        rows[''].flops / 1e9))  # fmt: skip
    with (tmp_path / 'sub' / 't.csv').open(newline='') as file:
        lines = list(csv.DictReader(file))
    assert lines[0]['module'] == '(model)'
    assert set(lines[0]) == {'module', 'type', 'output', 'calls', 'parameters', 'GFLOPs'}
    run(tiny, out=tmp_path / 'new' / 't.md', depth=1)
    text = (tmp_path / 'new' / 't.md').read_text()
    assert text.startswith('| module ')
    assert 'GFLOPs' not in text
    assert text.endswith(f'in these rows {result["parameters"]:,}.\n')


def test_the_meta_device_gives_the_same_table(tiny):
    result, said = run(tiny, device='meta', flops=True)
    assert result['rows'] == run(tiny)[0]['rows']
    assert said[0] == 'On the meta device operations are not counted.'


FAMILIES = {
    'detr': lambda: Config(dict(model=DETR)),
    'fcos': lambda: Config(dict(model=FCOS)),
    'yolo': lambda: small_config(CONFIGS / 'yolo_iou/yolo-iou_r18-gn_bccd.py'),
    'mask': lambda: small_config(MASK),
    'relation': lambda: small_config(DEMO),
    'parts': lambda: small_config(CONFIGS / 'relation_rcnn/all-relations-faster-rcnn_r18-gn_fpn_chest-phantom.py'),
}


def write(cfg, folder):
    """The config as a file, without the slow formatting of `Config.dump`; category graphs need no data."""

    def plain(node):
        if isinstance(node, dict):
            graph = {'graph': 'identity'} if str(node.get('graph')).endswith('.json') else {}
            return {**{key: plain(value) for key, value in node.items()}, **graph}
        return type(node)(map(plain, node)) if isinstance(node, list | tuple) else node

    file = folder / 'c.py'
    file.write_text('\n'.join(f'{key} = {value!r}' for key, value in plain(cfg.to_dict()).items()))
    return file


@pytest.mark.usefixtures('read_bases_once')
@pytest.mark.parametrize('family', FAMILIES)
def test_families(family, tmp_path):
    result, _ = run(write(FAMILIES[family](), tmp_path), size=[64, 64])
    assert sum(row.parameters for row in result['rows']) == result['parameters'] > 0
    called = {row.name for row in result['rows'] if row.calls}
    # Every part of the network is reached, whatever the random weights detect.
    assert {'', 'backbone', 'neck'} <= called
    heads = [name for name in ('bbox_head', 'rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head') if
             any(row.name == name for row in result['rows'])]  # fmt: skip
    assert heads
    for name in heads:
        assert any(row.name.startswith(name) and row.calls for row in result['rows'])


@pytest.mark.usefixtures('read_bases_once')
def test_two_stages_need_values(tmp_path):
    with pytest.raises(ValueError, match='on the meta device a detector must not look at values'):
        run(write(small_config(DEMO), tmp_path), size=[64, 64], device='meta')


def test_shared_modules_and_parameters_count_once():
    model = nn.Module()
    model.a = nn.Sequential(nn.Linear(2, 2))
    model.b = nn.Sequential(model.a[0], nn.Linear(2, 2, bias=False))
    model.b[1].weight = model.a[0].weight
    for depth in (None, 0, 1):
        assert sum(row.parameters for row in make_rows(model, {}, {}, depth)) == 6
    rows = make_rows(model, {'a': ['1x2', '1x2', '3']}, {'a': 5e9})
    assert [row.name for row in rows] == ['', 'a', 'a.0', 'b', 'b.1']
    assert rows[1] == Row('a', 'Sequential', '1x2; 3', 3, 0, 5e9)
    many = make_rows(model, {'a': [str(i) for i in range(9)]}, {})[1]
    assert many.output == '0; 1; 2; 3; 4; 5; and 3 more'
    head, cells = table_cells(rows, True)
    assert head[-1] == 'GFLOPs'
    assert cells[0] == ['(model)', 'Module', '–', '0', '0', '–']
    assert cells[1][-1] == '5.000'


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'batch': 0}, 'batch must be at least 1 and depth at least 0, got 0 and None'),
        ({'depth': -1}, 'batch must be at least 1 and depth at least 0, got 1 and -1'),
        ({'size': [0, 4]}, r'--size takes height and width, both at least 1, got \[0, 4\]'),
        ({'device': 'npu'}, "device must be 'cpu', 'cuda' or 'meta', got 'npu'"),
        ({'out': 'a.txt'}, r'--out a.txt: a table is written as .md or .csv'),
        ({'name': '('}, r'--name \( is no regular expression'),
        (
            {'name': 'nothing'},
            "no module has 'nothing' in its name; those below the model: .*backbone, neck, bbox_head",
        ),
    ],
)
def test_faults(tiny, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(tiny, **options)


def test_there_is_no_gpu(tiny, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(ValueError, match='--device cuda: there is no GPU here; use cpu or meta'):
        run(tiny, device='cuda')


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_a_gpu_gives_the_same_table(tiny):
    assert run(tiny, device='cuda', flops=True)[0]['rows'] == run(tiny, flops=True)[0]['rows']


def test_no_config(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no config'):
        run(tmp_path / 'none.py')
