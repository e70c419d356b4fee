"""Half-written, refused and foreign checkpoints."""

import os

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_ext.engine import checkpoint as module
from mmdet_ext.engine.checkpoint import (
    check_resumable,
    check_weights,
    find_resumable,
    match_weights,
    read_checkpoint,
    require_init,
)
from mmdet_ext.engine.launch import test as run_test
from tests.test_models.small_detector import CONFIGS, DEMO, small_config
from tests.tiny_coco import tiny_run


class _Evil:
    def __reduce__(self):
        return os.system, ('touch /tmp/mmdet_ext_was_here',)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(module, 'print_log', lambda text, *_: messages.append(text))
    return messages


def _truncate(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_half_written_last_checkpoint_is_skipped_and_said(tmp_path, said):
    work_dir = tiny_run().copy(tmp_path / 'run', 1, 2, 3)
    os.utime(work_dir / 'epoch_1.pth', (1, 1))
    _truncate(work_dir / 'epoch_3.pth')
    assert find_resumable(work_dir) == work_dir / 'epoch_2.pth'
    assert len(said) == 1
    assert 'epoch_3.pth is half-written' in said[0]
    assert f'resuming from {work_dir / "epoch_2.pth"}' in said[0]


def test_training_resumes_from_the_previous_one(tmp_path):
    run = tiny_run()
    work_dir = run.copy(tmp_path / 'run', 1, 2)
    _truncate(work_dir / 'epoch_2.pth')
    losses, _ = run.train(work_dir=work_dir, resume='auto')
    assert losses == run.losses


def test_last_checkpoint_wins_over_a_newer_file(tmp_path, said):
    work_dir = tiny_run().copy(tmp_path / 'run', 3, 1)
    os.utime(work_dir / 'epoch_1.pth', (1, 1))
    (work_dir / 'epoch_2.pth').write_bytes(b'PK')
    assert find_resumable(work_dir) == work_dir / 'epoch_1.pth'
    assert 'epoch_2.pth is half-written' in said[0]


@pytest.mark.parametrize('marker', ['', 'epoch_9.pth', None])
def test_bad_marker(tmp_path, said, marker):
    work_dir = tiny_run().copy(tmp_path / 'run', 2)
    if marker is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(marker)
    torch.save({'state_dict': {}}, work_dir / 'published.pth')
    assert find_resumable(work_dir) == work_dir / 'epoch_2.pth'
    assert said == (
        [f'There is no checkpoint epoch_9.pth. Ignored: resuming from {work_dir}/epoch_2.pth.'] if marker else []
    )


def test_nothing_left(tmp_path, said):
    assert find_resumable(tmp_path) is None
    assert said == []
    (tmp_path / 'epoch_1.pth').write_bytes(b'')
    assert find_resumable(tmp_path) is None
    assert 'starts from scratch' in said[0]


def test_directory_of_shards_is_left_to_mmengine(tmp_path):
    (tmp_path / 'epoch_1.pth').mkdir()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    assert find_resumable(tmp_path) == tmp_path / 'epoch_1.pth'
    check_resumable(tmp_path / 'epoch_1.pth')


def test_explicit_path(tmp_path):
    work_dir = tiny_run().copy(tmp_path / 'run', 1, 2)
    check_resumable(work_dir / 'epoch_2.pth')
    check_resumable('https://example.org/epoch_1.pth')
    _truncate(work_dir / 'epoch_2.pth')
    with pytest.raises(ValueError, match=r'epoch_2\.pth is half-written .* Resume from .*epoch_1\.pth'):
        check_resumable(work_dir / 'epoch_2.pth')
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*epoch_7\.pth.* Resume from .*epoch_1\.pth'):
        check_resumable(work_dir / 'epoch_7.pth')
    torch.save({'state_dict': {}}, tmp_path / 'weights.pth')
    with pytest.raises(ValueError, match='holds weights but no training state'):
        check_resumable(tmp_path / 'weights.pth')


def test_code_is_never_run(tmp_path, said):
    torch.save({'state_dict': _Evil(), 'meta': {}}, tmp_path / 'epoch_1.pth')
    with pytest.raises(ValueError, match=r'refused: it holds a Python object \((posix|os)\.system\)'):
        read_checkpoint(tmp_path / 'epoch_1.pth')
    assert find_resumable(tmp_path) is None
    assert 'refused' in said[0]
    assert not os.path.exists('/tmp/mmdet_ext_was_here')


def test_read_checkpoint(tmp_path, monkeypatch):
    assert read_checkpoint(tiny_run().work_dir / 'epoch_1.pth')['meta']['epoch'] == 1
    torch.save({'a': torch.ones(2)}, tmp_path / 'legacy.pth', _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / 'legacy.pth')['a'].tolist() == [1, 1]
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='holds a list, not a dict'):
        read_checkpoint(tmp_path / 'list.pth')
    monkeypatch.setattr(module.CheckpointLoader, 'load_checkpoint', lambda address, map_location: {'address': address})
    assert read_checkpoint('https://example.org/a.pth') == {'address': 'https://example.org/a.pth'}


def _model(**changes) -> nn.Module:
    init_default_scope('mmdet')
    cfg = Config.fromfile(tiny_run().config)
    cfg.merge_from_dict(changes)
    return MODELS.build(cfg.model)


def test_readable_after_a_load_of_the_fork():
    """onedl-mmengine takes the types of a loss history off torch's list after each load."""
    file = tiny_run().work_dir / 'epoch_1.pth'
    with torch.serialization.safe_globals([HistoryBuffer]):
        pass
    assert HistoryBuffer not in torch.serialization.get_safe_globals()
    assert 'message_hub' in read_checkpoint(file)


def test_match(said):
    path = tiny_run().work_dir / 'epoch_3.pth'
    assert check_weights(_model(), path, strict=True).complete

    match = match_weights(_model(**{'model.bbox_head.num_classes': 3}), read_checkpoint(path))
    assert match.other_shape == ('bbox_head.retina_cls.weight', 'bbox_head.retina_cls.bias')
    assert match.missing == ()
    assert not match.nothing

    deeper = _model(**{'model.bbox_head.stacked_convs': 2, 'model.bbox_head.num_classes': 3})
    with pytest.raises(ValueError, match=r'tensors 4 are missing in it and 2 have another shape .*made by tiny_\d+'):
        check_weights(deeper, path, strict=True)
    check_weights(deeper, path, strict=False)
    assert 'keep their initial values' in said[0]


def test_nothing_fits_is_an_error_for_training_too(tmp_path):
    torch.save({'module.conv.weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='does not fit the model'):
        check_weights(nn.Linear(2, 2), tmp_path / 'other.pth', strict=False)


def test_prefix_of_ddp_is_dropped_and_counters_do_not_count():
    norm = nn.BatchNorm1d(2)
    state = {f'module.{k}': v for k, v in norm.state_dict().items() if k != 'num_batches_tracked'}
    assert match_weights(norm, state).complete


def test_failure_in_a_module_is_not_swallowed():
    class Broken(nn.Linear):
        def _load_from_state_dict(self, *args):
            args[-1].append('cannot convert')

    with pytest.raises(RuntimeError, match='cannot convert'):
        match_weights(Broken(1, 1), {})


def test_testing_another_architecture_is_refused(tmp_path):
    run = tiny_run()
    with pytest.raises(ValueError, match='does not fit the model'):
        run_test(
            run.config,
            run.work_dir / 'epoch_3.pth',
            work_dir=tmp_path,
            cfg_options={'model.backbone.base_channels': 16, 'model.neck.in_channels': [64, 128]},
        )


def test_a_checkpoint_to_start_from_names_the_run_that_makes_it(tmp_path):
    config, first = tmp_path / 'second.py', tmp_path / 'first.py'
    for file in (config, first):
        file.touch()
    missing = 'work_dirs/first/epoch_8.pth'
    with pytest.raises(FileNotFoundError, match=f'{missing}, which is not there; train it first: python .*{first}'):
        require_init(missing, config)
    for other in ('work_dirs/third/epoch_8.pth', 'work_dirs/second/epoch_8.pth', 'epoch_8.pth'):
        with pytest.raises(FileNotFoundError, match='correct load_from'):
            require_init(other, config)
    (tmp_path / 'there.pth').touch()
    require_init(str(tmp_path / 'there.pth'), config)
    require_init('torchvision://resnet18', config)


def test_a_plain_detector_is_a_start_for_a_relation_detector_but_no_result(tmp_path, said):
    init_default_scope('mmdet')
    configs = CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py', DEMO
    plain, related = (MODELS.build(small_config(path).model) for path in configs)
    path = tmp_path / 'plain.pth'
    torch.save({'state_dict': plain.state_dict()}, path)
    with pytest.raises(ValueError, match=r'missing in it .* It is of a plain detector, from which a training'):
        check_weights(related, path, strict=True)
    assert not check_weights(related, path, strict=False).complete
    assert 'keep their initial values' in said[-1]
    torch.save({'state_dict': related.state_dict()}, path)
    assert check_weights(MODELS.build(small_config(DEMO).model), path, strict=True).complete


def test_a_flipped_bit_is_found(tmp_path, said):
    """torch reads such a file without a word, with another weight in it."""
    work_dir = tiny_run().copy(tmp_path / 'run', 1, 2)
    path = work_dir / 'epoch_2.pth'
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)
    with pytest.raises(ValueError, match=r"epoch_2\.pth is damaged: the checksum of '.*' in it is wrong; copy it"):
        read_checkpoint(path)
    assert 'state_dict' in read_checkpoint(path, whole=False)
    with pytest.raises(ValueError, match=r'is damaged: .* Resume from .*epoch_1\.pth'):
        check_resumable(path)
    assert find_resumable(work_dir) == work_dir / 'epoch_1.pth'
    assert 'is damaged' in said[-1]


def test_a_damaged_table_of_contents(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'a': torch.ones(9)}, path)
    content = path.read_bytes()
    start = content.rindex(b'PK\1\2')
    path.write_bytes(content[:start] + b'XX' + content[start + 2 :])
    with pytest.raises(ValueError, match='its table of contents cannot be read'):
        read_checkpoint(path)


def test_the_best_checkpoint_comes_last(tmp_path, said):
    """It has no optimizer state, so going on from it would give other numbers."""
    work_dir = tiny_run().copy(tmp_path / 'run', 1)
    best = torch.load(tiny_run().work_dir / 'epoch_2.pth', weights_only=True)
    del best['optimizer']
    torch.save(best, work_dir / 'best_mAP_epoch_2.pth')
    (work_dir / 'last_checkpoint').write_bytes(bytes(8))
    assert find_resumable(work_dir) == work_dir / 'epoch_1.pth'
    assert said == []
    (work_dir / 'epoch_1.pth').unlink()
    assert find_resumable(work_dir) == work_dir / 'best_mAP_epoch_2.pth'
    assert 'the optimizer starts anew' in said[0]


@pytest.mark.parametrize('meta', [None, [1], 'x', {'epoch': 1}])
def test_strange_meta_is_no_training_state(tmp_path, said, meta):
    torch.save({'message_hub': {}, 'meta': meta}, tmp_path / 'epoch_1.pth')
    assert find_resumable(tmp_path) is None
