import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcv import imwrite
from mmengine.config import Config

from mmdet_ext.deployment import export
from mmdet_ext.deployment.export import class_names, format_parity, image_pipeline, open_session, run_export
from mmdet_ext.deployment.parity import Parity

from .export_case import CLASSES, build, one_stage, picture

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(90, 70), keep_ratio=False),
    dict(type='PackDetInputs', meta_keys=('img_shape', 'ori_shape', 'scale_factor')),
]


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Any]:
    """A config, a checkpoint of it and an image."""
    cfg = Config(
        dict(
            model=one_stage().to_dict(),
            default_scope='mmdet',
            test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=PIPELINE)),
        )
    )
    cfg.dump(str(tmp_path / 'c.py'))
    state = build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=tuple(CLASSES)))), tmp_path / 'w.pth')
    imwrite(picture(140, 180).permute(1, 2, 0).numpy(), str(tmp_path / 'a.png'))
    return dict(config=tmp_path / 'c.py', checkpoint=tmp_path / 'w.pth', out=tmp_path / 'm.onnx', size=(70, 90))


def test_export_and_verify(trained: dict, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: Any) -> None:
    (result,) = run_export(**trained, verify_images=[tmp_path / 'a.png'])
    assert result.same
    assert result.matched >= 10
    text = capsys.readouterr().out
    assert f'classes: {CLASSES}' in text
    assert re.search(r'written: .*m\.onnx \(\d', text)
    assert re.search(r'a\.png +15 +15 +15 +0 .* yes', text)
    # The file is there already: only the verdict differs.
    monkeypatch.setattr(export, 'export_onnx', lambda *_, **__: dict(part_names=[]))
    monkeypatch.setattr(export, 'verify', lambda *_, **__: [Parity('a.png', (9, 9), 1, 16, 0.0, 0.0)])
    with pytest.raises(ValueError, match=r'find different things .* in a\.png'):
        run_export(**trained, verify_images=[tmp_path / 'a.png'])


def test_options_arrive(trained: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def note(model: Any, out: Path, classes: list[str], size: Any, opset: int, facts: dict) -> dict:
        seen.update(model=model, classes=classes, size=size, opset=opset, **facts)
        out.write_bytes(b'')
        return dict(part_names=[])

    monkeypatch.setattr(export, 'export_onnx', note)
    options = {'model.test_cfg.score_thr': 0.7}
    assert run_export(**trained, opset=19, cfg_options=options) == []
    assert (seen['model'].test_cfg.score_thr, seen['opset'], seen['size']) == (0.7, 19, (70, 90))
    assert (seen['config'], seen['checkpoint'], seen['classes']) == ('c.py', 'w.pth', CLASSES)
    assert seen['resize'] == dict(type='Resize', scale=(90, 70), keep_ratio=False)


def test_missing_files(trained: dict, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        run_export(**{**trained, 'checkpoint': tmp_path / 'no.pth'})
    with pytest.raises(FileNotFoundError, match='There is no config'):
        run_export(**{**trained, 'config': tmp_path / 'no.py'})


def test_checkpoint_of_another_model(trained: dict) -> None:
    torch.save(dict(state_dict={'a': torch.zeros(1)}), trained['checkpoint'])
    with pytest.raises(ValueError, match='Use the config it was trained with'):
        run_export(**trained)


def config_with(data: dict) -> Config:
    return Config(dict(test_dataloader=dict(dataset=data)))


def test_class_names_from_wherever_they_are() -> None:
    stored = dict(meta=dict(dataset_meta=dict(classes=('x', 'y'))))
    coco = config_with(dict(type='CocoDataset'))
    assert class_names(coco, stored) == ['x', 'y']
    assert class_names(config_with(dict(type='CocoDataset', metainfo=dict(classes=('z',)))), {}) == ['z']
    assert class_names(coco, {})[:2] == ['person', 'bicycle']
    with pytest.raises(ValueError, match=r'set test_dataloader\.dataset\.metainfo\.classes'):
        class_names(Config(dict()), {})


def test_pipeline_of_a_wrapped_data_set() -> None:
    inner = dict(type='CocoDataset', pipeline=PIPELINE)
    assert image_pipeline(config_with(dict(type='RepeatDataset', dataset=inner)))[1]['type'] == 'Resize'
    with pytest.raises(ValueError, match=r'has no test_dataloader\.dataset\.pipeline'):
        image_pipeline(Config(dict()))


def test_table() -> None:
    text = format_parity([Parity('a.png', (3, 4), 3, 1, 2e-3, 4e-5)])
    assert text.splitlines()[-1].split() == ['a.png', '3', '4', '3', '1', '2.0e-03', '4.0e-05', 'NO']


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    with pytest.raises(ImportError, match=r'needs onnxruntime: pip install -r requirements/optional\.txt'):
        open_session('a.onnx')
