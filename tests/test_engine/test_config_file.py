"""Configs by path and by the name of a package."""

import pytest

from mmdet_ext.engine.config_file import read_config
from mmdet_ext.engine.launch import load_config

NAME = 'single_shot/single-shot_r18-gn_fpn_bccd.py'


@pytest.mark.parametrize(
    ('name', 'head'), [(f'mmdet_ext::{NAME}', 'SingleShotHead'), ('mmdet::ssd/ssd300_coco.py', 'SSDHead')]
)
def test_by_name(name, head):
    cfg = read_config(name)
    assert cfg.model.bbox_head.type == head
    assert cfg.filename.endswith(name.partition('::')[2])


def test_launch_takes_names():
    cfg = load_config(f'mmdet_ext::{NAME}', dataset='mmdet_ext::_base_/datasets/chest_phantom.py')
    assert cfg.work_dir == 'work_dirs/single-shot_r18-gn_fpn_bccd'
    assert cfg.model.bbox_head.num_classes == 10


def test_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf'There is no config nope\.py \(looked from {tmp_path}\)'):
        read_config('nope.py')
    (tmp_path / 'there.py').write_text('answer = 42\n')
    assert read_config(tmp_path / 'there.py').answer == 42


def test_bases_by_name(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = 'mmdet_ext::{NAME}'\nmodel = dict(test_cfg=dict(max_per_img=7))\n")
    cfg = load_config(child)
    assert (cfg.model.bbox_head.type, cfg.model.test_cfg.max_per_img) == ('SingleShotHead', 7)


def test_bad_names():
    for name in ('mmnothing::a/b.py', 'mmpose::hand/x.py'):
        with pytest.raises(
            ValueError, match=rf"{name}: no package '.*' with configs is installed here; there are \[.*'mmdet'"
        ):
            read_config(name)
    with pytest.raises(ValueError, match='specify the package name and relative config path'):
        read_config('mmdet_ext::runtime.py')
    with pytest.raises(FileNotFoundError, match=r'nope\.py'):
        read_config('mmdet_ext::single_shot/nope.py')
