import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmdet_ext.deployment import support
from mmdet_ext.deployment.support import borrow_data, load_samples, run_support, spread_weights, try_config, try_way
from tests.tiny_coco import make_tiny_coco

from .export_case import build, one_stage, picture, sample, two_stage


def pipeline(side: int) -> list[dict[str, Any]]:
    resize = dict(type='Resize', scale=(side, side), keep_ratio=False)
    return [
        dict(type='LoadImageFromFile'),
        resize,
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_shape', 'ori_shape', 'scale_factor')),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of a detector that cannot be exported, and of data."""
    paths = make_tiny_coco(tmp_path / 'data', n=4, classes=('a', 'b'))
    data = dict(
        type='CocoDataset',
        ann_file=paths['ann'],
        data_prefix=dict(img=paths['images']),
        metainfo=dict(classes=('a', 'b')),
        pipeline=pipeline(64),
        test_mode=True,
    )
    head = dict(type='FCOSHead', num_classes=2, in_channels=16, strides=[4, 8, 16])
    model = {**one_stage().to_dict(), 'type': 'FCOS', 'bbox_head': head}
    Config(dict(model=model, default_scope='mmdet', test_dataloader=dict(dataset=data))).dump(str(tmp_path / 'c.py'))
    return tmp_path / 'c.py'


def test_program_of_torch_export_finds_the_same() -> None:
    model = build(one_stage('RetinaFaceHead'))
    trial = try_way('torch.export', model, [sample(picture()), sample(picture(seed=1))])
    assert (trial.works, trial.why, trial.matched) == (True, '', trial.total)
    assert trial.total >= 20
    assert trial.box_error < 1e-3


def test_compiled_detector_finds_the_same() -> None:
    model = build(one_stage())
    trial = try_way('torch.compile', model, [sample(picture())], backend='aot_eager')
    assert (trial.works, trial.matched) == (True, 15)


def test_file_finds_the_same_at_a_size_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that does not take every size is exported with the one it takes, and the table says so."""
    written = support.export_onnx

    def only_sized(model: Any, file: Path, classes: list[str], size: Any = None) -> None:
        if size is None:
            raise ValueError('not every size')
        written(model, file, classes, size, static=False)

    monkeypatch.setattr(support, 'export_onnx', only_sized)
    trial = try_way('onnx', build(one_stage()), [sample(picture())])
    assert (trial.works, trial.matched) == (True, 15)
    assert trial.why.startswith('only with --size')


def test_other_detections_do_not_count_as_working(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = build(one_stage()), sample(picture())
    other = build(one_stage(), seed=1)
    reference = support.run_torch
    monkeypatch.setattr(support, 'run_torch', lambda _, data: reference(other, data))
    trial = try_way('torch.compile', model, [data], backend='eager')
    assert not trial.works
    assert trial.why == 'the detections are not those of torch, which finds 15 of 15 again with weights 2.4e-07 away'


def test_what_an_exporter_says_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError('no such operator\nand more')

    monkeypatch.setattr(support, 'trace', fail)
    trial = try_way('torch.export', build(one_stage()), [sample(picture())])
    assert (trial.works, trial.why) == (False, 'RuntimeError: no such operator')


def test_config_that_does_not_export(config: Path) -> None:
    row = try_config(config, number=2)
    assert (row['detector'], row['size']) == ('FCOS / FCOSHead', [64, 64])
    for way in support.WAYS:
        assert not row[way]['works']
        assert row[way]['why'].startswith('FCOS with FCOSHead cannot be exported')


def test_mask_branch_is_left_out(config: Path) -> None:
    def with_masks(cfg: Config) -> Config:
        cfg.model = two_stage()
        mask = dict(type='FCNMaskHead', in_channels=16, num_classes=3)
        cfg.model.roi_head.update(mask_head=mask, mask_roi_extractor=cfg.model.roi_head.bbox_roi_extractor)
        return cfg

    row = try_config(config, ways=['torch.compile'], number=1, backend='eager', small=with_masks)
    assert row['torch.compile']['works']
    assert row['torch.compile']['why'].startswith('boxes only')
    assert row['detector'] == 'FasterRCNN / StandardRoIHead / Shared2FCBBoxHead'


def test_rows_are_stored_and_replaced(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'b' / 'd.json'
    run_support([f'{config}@{config}'], out, ['onnx'], 1)
    stored = run_support([str(config)], out, ['torch.export'], 1)
    assert json.loads(out.read_text()) == stored
    (row,) = stored['rows']
    assert {'onnx', 'torch.export'} <= set(row)
    assert {'torch', 'onnxruntime'} <= set(stored['versions'])
    assert 'onnx no: FCOS with FCOSHead' in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"ways \['tflite'\] are not among"):
        run_support([], out, ['tflite'])


def test_borrowed_images_have_the_own_size(config: Path) -> None:
    own = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline(96)))))
    (data,) = load_samples(borrow_data(own, config), 1)
    assert data['inputs'].shape == (3, 96, 96)


def test_samples_have_one_size(config: Path) -> None:
    cfg = Config.fromfile(config)
    assert [data['inputs'].shape for data in load_samples(cfg, 3)] == [(3, 64, 64)] * 3
    assert len(load_samples(cfg, 99)) == 4


def test_weights_nearby() -> None:
    model = torch.nn.Linear(50, 50)
    other: Any = support.nearby(model)
    gaps = (other.weight / model.weight - 1).abs()
    assert 1e-7 < gaps.max() < 5e-7


def test_weights_are_spread_and_always_the_same() -> None:
    one, two = torch.nn.Linear(400, 3), torch.nn.Linear(400, 3)
    for layer in (one, two):
        spread_weights(layer)
    assert torch.equal(one.weight, two.weight)
    assert one.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert one.bias.abs().max() > 0
