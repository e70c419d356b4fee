"""Grid files: what they may hold, and the sentence for what they may not."""

import json
from pathlib import Path

import pytest

from mmdet_ext.analysis.ablation.grid import Arm, read_grid

EXAMPLES = sorted((Path(__file__).parents[3] / 'configs/relation_rcnn/ablations').glob('*.yml'))


@pytest.fixture
def read(tmp_path):
    """Read a grid file with this text; two configs lie beside it."""
    (tmp_path / 'base.py').touch()
    (tmp_path / 'other.py').touch()

    def call(text):
        (tmp_path / 'grid.yml').write_text(text)
        return read_grid(tmp_path / 'grid.yml')

    return call


def test_arms_and_grid_together(read, tmp_path):
    grid = read("""
base: base.py
dataset: other.py
seeds: [3, 1]
work_dir: out
metrics: [coco/bbox_mAP]
reference: gate
options: {train_cfg.max_epochs: 1, model.a: 0}
arms:
  plain:
  gate: {config: other.py, options: {model.a: 1e-3}}
grid:
  model.head.fusion: [add, null]
  model.head.relations: [[{type: A}], []]
""")
    base, other = str(tmp_path / 'base.py'), str(tmp_path / 'other.py')
    epochs = {'train_cfg.max_epochs': 1}
    assert grid.arms[:2] == (
        Arm('plain', base, {**epochs, 'model.a': 0}),
        Arm('gate', other, {**epochs, 'model.a': 0.001}),
    )
    assert [arm.name for arm in grid.arms[2:]] == [
        'fusion=add,relations=#0', 'fusion=add,relations=#1', 'fusion=None,relations=#0', 'fusion=None,relations=#1',
    ]  # fmt: skip
    assert grid.arms[4].config == base
    assert grid.arms[4].options == {
        **epochs, 'model.a': 0, 'model.head.fusion': None, 'model.head.relations': [{'type': 'A'}],
    }  # fmt: skip
    assert (grid.seeds, grid.work_dir, grid.metrics) == ((3, 1), Path('out'), ('coco/bbox_mAP',))
    assert (grid.reference, grid.dataset) == ('gate', other)


def test_defaults(read):
    grid = read('{"base": "base.py", "arms": {"a b/c": {}, "d": null}}')
    assert (grid.seeds, grid.reference, grid.metrics, grid.dataset) == ((0,), 'a b/c', (), None)
    assert grid.work_dir == Path('work_dirs/ablations/grid')
    assert grid.arms[0].folder == 'a_b_c'


def test_json(tmp_path, read):
    text = json.dumps({'base': 'base.py', 'grid': {'a.x': [1, 2], 'b.x': [True]}}, indent=1)
    assert [arm.name for arm in read(text).arms] == ['a.x=1,b.x=True', 'a.x=2,b.x=True']


def test_configs_are_looked_for_beside_the_file_then_here(tmp_path, monkeypatch, read):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'here' / 'mine.py').touch()
    monkeypatch.chdir(tmp_path / 'here')
    assert read('base: mine.py\narms: {a: {}}').arms[0].config == 'mine.py'
    with pytest.raises(FileNotFoundError, match=r"grid\.yml: arm 'a': there is no config no\.py"):
        read('arms: {a: {config: no.py}}')
    with pytest.raises(FileNotFoundError, match='There is no grid file'):
        read_grid('none.yml')


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('base: base.py\nseed: [1]\narms: {a: {}}', "nothing knows 'seed' in the file; the nearest is 'seeds'"),
        ('base: base.py\nzzz: 1', "nothing knows 'zzz' in the file; there are: base, dataset"),
        ('base: base.py\narms: {a: {option: {}}}', "nothing knows 'option' in arm 'a'; the nearest is 'options'"),
        ('arms: {a: {}}', "arm 'a' has no config: write 'base: CONFIG'"),
        ('grid: {a: [1]}', "'grid' changes options of 'base': write 'base: CONFIG'"),
        ('base: base.py', "there is nothing to compare: write 'arms' or 'grid'"),
        ('base: base.py\ngrid: {a: []}', 'grid: a has no values'),
        ('base: base.py\ngrid: {a: 3}', 'grid: a must be a list, got 3'),
        ('base: base.py\narms: {a: {}}\nmeans: {b: c}', "means: b must be a list, got 'c'"),
        ('base: base.py\narms: {a: {}}\nmeans: {b: []}', 'means: b has no metrics'),
        ('base: base.py\narms: [a]', r'arms must be a mapping \(name: value\)'),
        ('base: base.py\narms: {a: {}}\nreference: b', "reference 'b' is no arm; there are: a"),
        ('base: base.py\narms: {a/b: {}, a b: {}}', "'a/b' and 'a b' would share the folder 'a_b'"),
        ('base: base.py\narms: {..: {}}', "would share the folder '..' or have none"),
        ('base: base.py\ngrid: {a: [1, 1]}', "'a=1' and 'a=1' would share"),
        ('base: base.py\narms:\n  a: {}\n  a: {}', "cannot be read as YAML: 'a' stands twice"),
        ('base: [', 'cannot be read as YAML'),
        *(
            (f'base: base.py\narms: {{a: {{}}}}\nseeds: {seeds}', 'seeds must be a list')
            for seeds in ('3', '[]', '[1, 1]', '[-1]', '[true]', '[a]')
        ),
    ],
)
def test_faults_are_named(read, text, sentence):
    with pytest.raises(ValueError, match=rf'grid\.yml:? .*{sentence}'):
        read(text)


@pytest.mark.parametrize('path', EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_grids_with_three_seeds(path):
    grid = read_grid(path)
    assert grid.arms
    assert len(grid.seeds) == 3


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} >= {'fusion', 'keys', 'insert', 'reg_source'}
