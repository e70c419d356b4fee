"""The zoo of a repository with one small model: trained once, kept, mended, tried out, and refused."""

import json
import shutil

import pytest
from mmdet.apis import init_detector

from mmdet_ext.analysis.ablation import launch as ablation_launch
from mmdet_ext.engine.launch import train
from mmdet_ext.zoo import build
from mmdet_ext.zoo.build import build_zoo, list_zoo, select_entries
from mmdet_ext.zoo.check import find_problems, find_stale_tables
from mmdet_ext.zoo.metafile import read_metafile, write_metafile
from mmdet_ext.zoo.publish import check_published
from tests.test_zoo.zoo_case import METAFILE, content, entry, make_root


def _train_here(run, command, environment):
    """In this process, for imports take longest; `test_ablate` has the real ones."""
    # mmengine keeps histories and visualizers by name.
    train(run.config, cfg_options={'experiment_name': str(run.folder), 'visualizer.name': str(run.folder)})
    return 0


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The repository after `make zoo`, what was returned, and what was said."""
    root, said = make_root(tmp_path_factory.mktemp('zoo')), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation_launch, '_call', _train_here)
        results = build_zoo(root, say=said.append)
    return root, results, said


@pytest.fixture
def root(built, tmp_path):
    """A copy of the tree that may be changed; checkpoints and data are those of the original."""
    shutil.copytree(built[0] / 'configs', tmp_path / 'configs')
    shutil.copy2(built[0] / 'model-index.yml', tmp_path)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(build, 'launch_runs', lambda runs, *_: runs and pytest.fail(f'trained again: {runs}'))


def test_everything_is_made(built):
    root, (result,), said = built
    file = root / 'work_dirs/zoo' / result['weights']
    check_published(file)
    assert file.name.startswith('tiny_')
    assert json.loads((root / 'work_dirs/zoo/tiny.json').read_text())['weights'] == file.name
    assert said[0] == '1 entries: 0 finished, 1 to do'
    assert any(line.startswith('tiny: box AP ') for line in said)
    there = read_metafile(root / METAFILE)
    (model,) = there['Models']
    assert [row['Name'] for row in there['Untrained']] == ['large']
    assert model['Weights'] == f'work_dirs/zoo/{file.name}'
    assert model['Zoo'] is True
    (row,) = model['Results']
    assert row['Metrics']['box AP'] == round(100 * result['metrics']['coco/bbox_mAP'], 1)
    about = model['Metadata']
    assert (about['Training Data'], about['Seed'], about['Command']) == ('tiny', 0, 'python tools/zoo.py --only tiny')
    assert about['Parameters'] > 1000
    assert find_problems(root) == []
    assert find_stale_tables(root) == []
    assert f'`{file.name}`' in (root / 'configs/small/README.md').read_text()


def test_the_figures_are_those_of_the_training(built):
    """Published weights are the trained ones: validation after the last step found the same (same images)."""
    _, (result,), _ = built
    assert result['record']['metrics'] == pytest.approx({key: result['metrics'][key] for key in result['metrics']})
    assert result['record']['seed'] == 0


def test_the_file_is_a_detector(built):
    root, (result,), _ = built
    file = root / 'work_dirs/zoo' / result['weights']
    model = init_detector(str(root / 'configs/small/tiny.py'), str(file), device='cpu')
    assert tuple(model.dataset_meta['classes']) == ('a', 'b')


def test_what_is_finished_is_kept(built, root, no_training):
    said = []
    before = (root / METAFILE).read_text()
    again = build_zoo(root, work_dir=built[0] / 'work_dirs/zoo', say=said.append)
    assert again == json.loads(json.dumps(built[1]))
    assert said[0] == '1 entries: 1 finished, 0 to do'
    # Outside of the root the place is absolute; the rest stays.
    assert (root / METAFILE).read_text().replace(f'{built[0]}/', '') == before


def test_url_replaces_the_place(built, root, no_training):
    build_zoo(root, work_dir=built[0] / 'work_dirs/zoo', url='http://localhost:80/zoo/', say=lambda _: None)
    name = built[1][0]['weights']
    assert read_metafile(root / METAFILE)['Models'][0]['Weights'] == f'http://localhost:80/zoo/{name}'
    assert f'[{name}](http://localhost:80/zoo/{name})' in (root / 'configs/small/README.md').read_text()


def test_a_damaged_file_is_made_anew_without_training(built, root, tmp_path, no_training):
    folder = tmp_path / 'zoo'
    shutil.copytree(built[0] / 'work_dirs/zoo', folder)
    name, said = built[1][0]['weights'], []
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-9])
    # Where its training was, mmengine has written down; another place is as good.
    build_zoo(root, work_dir=folder, say=said.append)
    assert said[0].startswith(f'tiny: {folder / name} has other content than its name says')
    assert (folder / name).read_bytes() == whole


def test_another_config_is_another_training(built, root):
    path = root / 'configs/small/tiny.py'
    path.write_text(path.read_text().replace('lr=0.001', 'lr=0.002'))
    sentence = (
        r'tiny: .*seed_0 holds a training with another config.*lr.*Give another --work-dir, or remove that folder'
    )
    with pytest.raises(ValueError, match=sentence):
        build_zoo(root, work_dir=built[0] / 'work_dirs/zoo', say=lambda _: None)


def test_a_result_of_another_config_does_not_count(built, root, tmp_path, monkeypatch):
    folder = tmp_path / 'zoo'
    shutil.copytree(built[0] / 'work_dirs/zoo', folder, ignore=shutil.ignore_patterns('training'))
    path = root / 'configs/small/tiny.py'
    path.write_text(path.read_text().replace('lr=0.001', 'lr=0.002'))
    asked, said = [], []
    monkeypatch.setattr(build, 'launch_runs', lambda runs, *_: asked.extend(runs))
    with pytest.raises(RuntimeError, match=r'1 of 1 entries failed:\ntiny: not started'):
        build_zoo(root, work_dir=folder, say=said.append)
    assert len(asked) == 1
    assert said[0] == f'tiny: config or data have changed since {folder}/tiny.json'


def test_a_trial_leaves_the_metafile_alone(root, monkeypatch):
    monkeypatch.setattr(ablation_launch, '_call', _train_here)
    before = (root / METAFILE).read_text(), (root / 'configs/small/README.md').read_text()
    (result,) = build_zoo(root, only=['tiny'], options={'optim_wrapper.optimizer.lr': 1e-4}, say=lambda _: None)
    check_published(root / 'work_dirs/zoo_trial' / result['weights'])
    assert ((root / METAFILE).read_text(), (root / 'configs/small/README.md').read_text()) == before


def test_a_failed_training_is_told_after_the_others(tmp_path, monkeypatch, built):
    root = make_root(tmp_path)
    write_metafile(root / METAFILE, content(Untrained=[entry('large', Zoo=True), entry('tiny', Zoo=True)]))
    (root / 'configs/small/large.py').write_text("_base_ = './tiny.py'\nrandomness = dict(deterministic=True)\n")

    def call(run, command, environment):
        if 'large' in run.name:
            (run.folder / ablation_launch.LOG).write_text('ValueError: too large\n')
            return 3
        return _train_here(run, command, environment)

    monkeypatch.setattr(ablation_launch, '_call', call)
    with pytest.raises(RuntimeError, match=r'1 of 2 entries failed:\nlarge: ValueError: too large'):
        build_zoo(root, say=lambda _: None)
    there = read_metafile(root / METAFILE)
    assert [row['Name'] for row in there['Models']] == ['tiny']
    assert [row['Name'] for row in there['Untrained']] == ['large']


def test_faults_end_before_any_training(root, no_training):
    with pytest.raises(ValueError, match=r'--url there is no address'):
        build_zoo(root, url='there')
    with pytest.raises(ValueError, match=r'--jobs must be at least 1, got 0'):
        build_zoo(root, jobs=0)
    with pytest.raises(ValueError, match=r'tiny: .*nothing knows .*optim_wraper'):
        build_zoo(root, options={'optim_wraper.optimizer.lr': 1}, say=lambda _: None)
    path = root / 'configs/small/tiny.py'
    path.write_text(path.read_text().replace('ann.json', 'none.json'))
    with pytest.raises(
        ValueError, match=r'tiny: train_dataloader\.dataset\.ann_file is .*none\.json, which is not there'
    ):
        build_zoo(root, say=lambda _: None)
    path.unlink()
    with pytest.raises(ValueError, match=r'tiny: config configs/small/tiny\.py is not there'):
        build_zoo(root)


def test_select_and_list(built):
    root = built[0]
    assert [one.name for one in select_entries(root)] == ['tiny']
    assert [one.name for one in select_entries(root, ['tiny'])] == ['tiny']
    assert list_zoo(root) == f'tiny  (tiny)  work_dirs/zoo/{built[1][0]["weights"]}'
    with pytest.raises(ValueError, match=r"--only tiny2: no metafile has it; the nearest is 'tiny'"):
        select_entries(root, ['tiny2'])
    with pytest.raises(
        ValueError, match=r"--only large: configs/small/metafile\.yml does not mark it with 'Zoo: true'"
    ):
        select_entries(root, ['large'])


def test_what_is_not_trained_is_listed(tmp_path):
    assert list_zoo(make_root(tmp_path)) == 'tiny  (tiny)  not trained yet'
