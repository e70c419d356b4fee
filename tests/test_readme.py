"""What the README says works: its config builds, its commands and files exist."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / 'README.md').read_text(encoding='utf-8')


def test_the_config_builds(tmp_path):
    (block,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    path = tmp_path / 'config.py'
    path.write_text(block)
    cfg = Config.fromfile(path)
    init_default_scope('mmdet')
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert type(model.roi_head).__name__ == 'RelationRoIHead'
    assert [type(relation).__name__ for relation in model.roi_head.bbox_head.relations] == ['RelationParallel']


NAMED = sorted(set(re.findall(r'(?:tools|configs|docs|benchmarks|requirements)/[\w./-]+\w', README)))


@pytest.mark.parametrize('name', NAMED)
def test_named_files_exist(name):
    assert (REPOSITORY / name).exists() or name == 'configs/scratch_gn/YOURS.py'


def test_make_targets_exist():
    makefile = (REPOSITORY / 'Makefile').read_text(encoding='utf-8')
    targets = set(re.findall(r'^([a-z-]+):', makefile, re.MULTILINE))
    named = {word for line in re.findall(r'\bmake ((?:[a-z-]+ ?)+)', README) for word in line.split()}
    assert {'demo', 'test', 'setup', 'doctor', 'help', 'lint', 'test-all'} <= named & targets


def test_components_are_registered():
    names = re.findall(r'`((?:\w+Relation|Relation\w+|\w+Hook))`', README)
    assert len(set(names)) >= 10
    assert [name for name in sorted(set(names)) if MODELS.get(name) is None and HOOKS.get(name) is None] == []
