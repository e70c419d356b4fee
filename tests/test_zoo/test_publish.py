"""What is kept, what is left out, the name, and what is refused."""

import os
import shutil
import stat

import pytest
import torch
from mmdet.apis import init_detector

from mmdet_ext.compat import allow_checkpoint_types
from mmdet_ext.utils.provenance import collect_versions, hash_file
from mmdet_ext.zoo import publish
from mmdet_ext.zoo.publish import PUBLISHED, check_published, publish_model
from tests.tiny_coco import tiny_config, tiny_run


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """The last checkpoint of the tiny training, with its config."""
    run = tiny_run()
    return publish_model(run.work_dir / 'epoch_3.pth', tmp_path_factory.mktemp('zoo'), run.config)


def training_checkpoint() -> dict:
    return torch.load(tiny_run().work_dir / 'epoch_3.pth', map_location='cpu', weights_only=True)


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint; gives its path."""

    def write(content, name='epoch_9.pth'):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def test_name_and_content(published):
    before = training_checkpoint()
    assert {'message_hub', 'optimizer', 'param_schedulers'} <= set(before)
    match = PUBLISHED.fullmatch(published.name)
    assert match
    assert (match['stem'], match['time']) == ('tiny', before['meta']['time'])
    assert match['hash'] == hash_file(published)[:8]
    # As any torch reads it, without the types that `import mmdet_ext` allows.
    torch.serialization.clear_safe_globals()
    try:
        content = torch.load(published, weights_only=True)
    finally:
        allow_checkpoint_types()
    assert set(content) == {'meta', 'state_dict'}
    assert content['state_dict'].keys() == before['state_dict'].keys()
    assert all(torch.equal(value, before['state_dict'][key]) for key, value in content['state_dict'].items())
    meta = content['meta']
    assert set(meta) == {
        'cfg', 'dataset_meta', 'epoch', 'experiment_name', 'iter', 'mmengine_version', 'published_with', 'seed', 'time',
    }  # fmt: skip
    assert (meta['epoch'], meta['seed']) == (3, 1)
    assert meta['published_with'] == collect_versions()
    assert meta['dataset_meta']['classes'] == ('a', 'b')
    assert len(meta['dataset_meta']['palette']) >= 2
    assert 'RetinaNet' in meta['cfg']
    assert 'work_dir' not in meta['cfg']
    assert published.stat().st_size < (tiny_run().work_dir / 'epoch_3.pth').stat().st_size


def test_init_detector_knows_the_classes(published, recwarn):
    model = init_detector(str(tiny_run().config), str(published), device='cpu')
    assert tuple(model.dataset_meta['classes']) == ('a', 'b')
    assert not [warning for warning in recwarn if 'COCO classes' in str(warning.message)]


def test_the_same_checkpoint_gives_the_same_file(published, tmp_path):
    run = tiny_run()
    again = publish_model(run.work_dir / 'epoch_3.pth', tmp_path / 'new' / 'folder', run.config)
    assert again.name == published.name
    assert again.read_bytes() == published.read_bytes()
    assert stat.S_IMODE(again.stat().st_mode) == stat.S_IMODE(shutil.copy2(run.config, tmp_path / 'x').stat().st_mode)


def test_without_a_config_the_checkpoint_tells_its_name(tmp_path):
    checkpoint = training_checkpoint()
    path = publish_model(tiny_run().work_dir / 'epoch_3.pth', tmp_path)
    remembered = checkpoint['meta']['experiment_name']
    match = PUBLISHED.fullmatch(path.name)
    assert match
    assert match['stem'] == remembered[: -len('_20240102_030405')]
    assert torch.load(path, weights_only=True)['meta']['cfg'] == checkpoint['meta']['cfg']


def test_a_time_in_the_remembered_name_is_not_doubled(save, tmp_path):
    checkpoint = training_checkpoint()
    checkpoint['meta'] |= {'experiment_name': 'some_config_20240102_030405', 'time': '20240102_030406'}
    path = publish_model(save(checkpoint), tmp_path)
    assert path.name.startswith('some_config_20240102_030406-')


def test_the_average_is_published_where_there_is_one(tmp_path):
    run = tiny_run()
    options = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)], 'train_cfg.max_epochs': 1}
    _, trained = run.train(work_dir=tmp_path / 'run', cfg_options=options)
    stored = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    assert 'ema_state_dict' in stored
    state = torch.load(publish_model(tmp_path / 'run' / 'epoch_1.pth', tmp_path, run.config), weights_only=True)
    key = 'bbox_head.retina_cls.weight'
    # mmengine has exchanged the two: the weights without average are those that training ended with.
    assert torch.equal(stored['ema_state_dict'][f'module.{key}'], trained[key])
    assert not torch.equal(state['state_dict'][key], trained[key])
    assert torch.equal(state['state_dict'][key], stored['state_dict'][key])
    assert not any(name.startswith('module.') for name in state['state_dict'])


def test_bare_weights_take_name_classes_and_time_from_config_and_file(save, tmp_path):
    path = save(training_checkpoint()['state_dict'])
    os.utime(path, (0, 86400))
    content = torch.load(publish_model(path, tmp_path, tiny_run().config), weights_only=True)
    assert content['meta']['dataset_meta']['classes'] == ('a', 'b')
    assert content['meta']['experiment_name'].startswith('tiny_1970010')
    with pytest.raises(ValueError, match=r'epoch_9\.pth does not say which config it is of: give --config'):
        publish_model(path, tmp_path)
    with pytest.raises(ValueError, match=r'does not know the names of its classes: give --config'):
        publish_model(path, tmp_path, name='x')


def test_colours_and_classes_of_other_times(save, tmp_path):
    state = training_checkpoint()['state_dict']
    old = torch.load(publish_model(save({'state_dict': state, 'meta': {'CLASSES': ['x', 'y']}}), tmp_path, name='o'))
    assert old['meta']['dataset_meta']['classes'] == ('x', 'y')
    assert len(old['meta']['dataset_meta']['palette']) == 2
    assert 'cfg' not in old['meta']
    meta = {'dataset_meta': {'CLASSES': ('x',), 'PALETTE': [[1, 2, 3]], 'Note': 'n'}}
    own = torch.load(publish_model(save({'state_dict': state, 'meta': meta}), tmp_path, name='o'))['meta']
    assert own['dataset_meta'] == {'classes': ('x',), 'palette': [(1, 2, 3)], 'note': 'n'}


def test_part_of_a_larger_tensor_is_cut_out(save, tmp_path):
    state = {'w': torch.zeros(1_000_000)[:2]}
    path = publish_model(save({'state_dict': state, 'meta': {'CLASSES': ['x']}}), tmp_path / 'out', name='cut')
    assert path.stat().st_size < 10_000


def test_weights_of_another_model_are_refused(tmp_path):
    run = tiny_run()
    other = tmp_path / 'other.py'
    other.write_text(tiny_config(run.paths).replace('num_classes=2', 'num_classes=3'))
    with pytest.raises(ValueError, match=r'retina_cls.*Give the config that it was trained with, not .*other\.py'):
        publish_model(run.work_dir / 'epoch_3.pth', tmp_path, other)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_diverged_weights_are_refused(save, tmp_path, value):
    state = {'good': torch.zeros(2), 'count': torch.tensor(3), 'bad': torch.tensor([1.0, value])}
    with pytest.raises(ValueError, match=r'1 of 3 tensors are not finite \(first: bad\).*publish an earlier epoch'):
        publish_model(save({'state_dict': state}), tmp_path, name='x')


@pytest.mark.parametrize('content', [{}, {'state_dict': {}}, {'meta': {}, 'w': torch.zeros(1)}])
def test_no_weights(save, tmp_path, content):
    with pytest.raises(ValueError, match=r'epoch_9\.pth holds no weights'):
        publish_model(save(content), tmp_path, name='x')


def test_other_faults(save, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*none\.pth'):
        publish_model(tmp_path / 'none.pth', tmp_path)
    with pytest.raises(FileNotFoundError, match=r'no config .*none\.py'):
        publish_model(tiny_run().work_dir / 'epoch_3.pth', tmp_path, 'none.py')
    (tmp_path / 'half.pth').write_bytes(b'PK')
    with pytest.raises(ValueError, match='half-written'):
        publish_model(tmp_path / 'half.pth', tmp_path / 'out')
    for out in ('out.pth', 'half.pth'):
        with pytest.raises(ValueError, match=r'OUT is the folder'):
            publish_model(tiny_run().work_dir / 'epoch_3.pth', tmp_path / out)


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    def fail(content, file):
        file.write(b'begun')
        raise OSError('disk full')

    monkeypatch.setattr(publish.torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        publish_model(tiny_run().work_dir / 'epoch_3.pth', tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_published_file_is_whole(published, tmp_path):
    check_published(published)
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        check_published(tmp_path / published.name)
    with pytest.raises(ValueError, match=r'epoch_3\.pth is no published checkpoint'):
        check_published(tiny_run().work_dir / 'epoch_3.pth')
    content = published.read_bytes()
    middle = len(content) // 2
    for changed in (content[:-1], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :], b''):
        (tmp_path / published.name).write_bytes(changed)
        with pytest.raises(ValueError, match=r'has other content than its name says .*fetch or publish it again'):
            check_published(tmp_path / published.name)
