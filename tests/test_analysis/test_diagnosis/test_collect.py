"""Records of many images: made once, whole, and whatever happens."""

import copy

import pytest

from mmdet_ext.analysis.diagnosis import collect as module
from mmdet_ext.analysis.diagnosis.collect import collect, identity
from mmdet_ext.analysis.diagnosis.record import ImageRecord
from mmdet_ext.analysis.diagnosis.record_store import RecordStore
from mmdet_ext.analysis.diagnosis.split_data import open_split
from tests.test_analysis.test_diagnosis import detector_case as case


class Examined:
    """Stands for a detector: says what it was asked for."""

    def __init__(self, stop_at=None):
        self.chosen, self.asked, self.stop_at = {'val': [0, 2, 5, 9]}, [], stop_at

    def examine(self, split, index):
        if index == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(index)
        fault = 'five.png cannot be used: reason' if index == 5 else None
        limits = ('no raw',) if index > 0 else ()
        return ImageRecord(split, index, index, f'{index}.png', fault=fault, losses={'loss': index}, limits=limits)


def store(folder):
    return RecordStore(folder, {})


def test_a_stopped_run_goes_on(tmp_path):
    stopped = Examined(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        collect(stopped, store(tmp_path), 'val')
    assert stopped.asked == [0, 2]
    assert [record.index for record in store(tmp_path).records('val')] == [0, 2]
    again = Examined()
    result = collect(again, store(tmp_path), 'val', progress=False)
    assert again.asked == [5, 9]
    assert (result.split, result.indices, result.new) == ('val', [0, 2, 5, 9], 2)
    assert result.faults == [('5.png', 'five.png cannot be used: reason')]
    assert result.limits == {'no raw': 3}
    finished = Examined()
    repeated = collect(finished, store(tmp_path), 'val')
    assert finished.asked == []
    assert repeated.new == 0
    assert (repeated.faults, repeated.limits) == (result.faults, result.limits)


def test_a_damaged_record_is_made_again(tmp_path):
    collect(Examined(), store(tmp_path), 'val')
    store(tmp_path).path('val', 2).write_bytes(b'half')
    again = Examined()
    assert collect(again, store(tmp_path), 'val').new == 1
    assert again.asked == [2]
    assert store(tmp_path).get('val', 2).losses == {'loss': 2}


@pytest.mark.parametrize('progress', [True, False])
def test_the_bar(tmp_path, capsys, monkeypatch, progress):
    bars = []
    plain = module.tqdm
    monkeypatch.setattr(module, 'tqdm', lambda *args, **options: bars.append(options) or plain(*args, **options))
    collect(Examined(), store(tmp_path), 'val', progress)
    assert bars == [{'desc': 'val', 'unit': 'image', 'disable': None if progress else True}]
    assert capsys.readouterr().out == ''


def test_real_records(tmp_path):
    detector = case.detector('retina')
    folder = RecordStore(tmp_path, identity(detector))
    result = collect(detector, folder, 'train')
    assert result.indices == [0, 1, 2, 3]
    assert [record.losses for record in folder.records('train')] == [
        case.record('retina', index).losses for index in range(4)
    ]


def test_the_identity_is_of_what_records_depend_on(tmp_path):
    detector = case.detector('retina')
    own = identity(detector)
    assert own.keys() == {'config', 'checkpoint', 'annotations of train', 'annotations of val', 'versions'}

    def differing(cfg_options=None, **attributes):
        other = copy.copy(detector)
        other.cfg = copy.deepcopy(detector.cfg)
        other.cfg.merge_from_dict(cfg_options or {})
        vars(other).update(attributes)
        found = identity(other)
        assert found == identity(other)
        return {key for key in own if own[key] != found.get(key)}

    assert differing(chosen={}) == set()
    # What only training reads.
    assert differing({'optim_wrapper.type': 'X'}) == set()
    assert differing({'model.test_cfg.score_thr': 0.2}) == {'config'}
    (tmp_path / 'copy.pth').write_bytes(detector.checkpoint.read_bytes())
    assert differing(checkpoint=tmp_path / 'copy.pth') == set()
    (tmp_path / 'copy.pth').write_bytes(detector.checkpoint.read_bytes() + b' ')
    assert differing(checkpoint=str(tmp_path / 'copy.pth')) == {'checkpoint'}
    assert differing(checkpoint='https://host/file.pth') == {'checkpoint'}
    text = (case.folder() / 'ann.json').read_text().replace('[6, 4, 30, 24]', '[6, 4, 30, 25]')
    (tmp_path / 'ann.json').write_text(text)
    cfg = copy.deepcopy(detector.cfg)
    cfg.val_dataloader.dataset.ann_file = str(tmp_path / 'ann.json')
    splits = {**detector.splits, 'val': open_split(cfg, 'val')}
    assert differing(splits=splits) == {'annotations of val'}
