"""Every family is trained on very large and very full pictures; here mostly the running of it."""

import json
from pathlib import Path

import pytest

from mmdet_ext.reliability import family_trainings
from mmdet_ext.reliability.family_trainings import FAMILIES
from mmdet_ext.reliability.large_inputs import Large, format_large_inputs, large_config, run_large_inputs

from .training_record import run_record

ROOT = Path(__file__).parents[2]
FEW = {'few': Large(192, 30)}


@pytest.mark.parametrize('name', FAMILIES)
def test_configs(name, tmp_path):
    cfg = large_config(name, Large(4000, 1000), ROOT, tmp_path, 2, 0)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert [t.scale for t in pipeline if 'scale' in t] == [(4000, 4000)]
    assert not any(t.get('poly2mask', True) for t in pipeline if t.get('with_mask'))
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers) == (1, 2)
    assert {'RunRecordHook', 'CheckInvalidLossHook'} <= {hook.type for hook in cfg.custom_hooks}
    if name == 'single-shot':
        assert cfg.model.train_cfg.assigner.type == 'YOLOAssigner'
    if 'rpn_head' in cfg.model:
        rcnn = cfg.model.train_cfg.rcnn
        assert cfg.model.train_cfg.rpn_proposal.max_per_img == 1000
        assert {stage.sampler.num for stage in (rcnn if isinstance(rcnn, list) else [rcnn])} == {1000}


def test_small_pictures_keep_their_number_of_rois(tmp_path):
    cfg = large_config('relation', Large(320, 20), ROOT, tmp_path, 0, 0)
    proposal = cfg.model.train_cfg.rpn_proposal
    assert (proposal.nms_pre, proposal.max_per_img, cfg.model.train_cfg.rcnn.sampler.num) == (512, 256, 128)


def test_rows_stay(tmp_path, monkeypatch):
    folders, said = [], []

    def train(cfg, folder, repository):
        folders.append(folder.relative_to(tmp_path))
        if 'yolo' in str(folder):
            raise RuntimeError('killed')
        data = folder.parents[1]
        assert (data / 'chest_phantom' / 'train.catgraph.json').is_file()
        assert len(json.loads((data / 'face_phantom' / 'annotations' / 'train.json').read_text())['annotations']) == 30
        return run_record()

    monkeypatch.setattr(family_trainings, 'train_family', train)
    options = dict(sizes=FEW, work_dir=tmp_path, repository=ROOT, command='python x', say=said.append)
    out = tmp_path / 'x.json'
    run_large_inputs(out, families=['faces'], **options)
    rows = run_large_inputs(out, families=['relation'], **options)
    assert rows['relation']['sizes'] == {'few': {'seconds': 1.26, 'peak_mb': 2345}}
    # Named by all that a training depends on.
    config = 'relation-faster-rcnn_r18-gn_fpn_chest-phantom'
    assert folders[-1] == Path('30_objects_192_pixels', config, '2_workers_seed_0')
    stored = json.loads(out.read_text())
    assert list(stored['rows']) == ['faces', 'relation']
    assert (stored['rows']['relation']['command'], stored['rows']['relation']['commit']) == ('python x', 'abc')
    assert said[-1] == 'relation, few: 1.3 s, 2.3 GB'
    assert run_large_inputs(tmp_path / 'y.json', families=['YOLO with IoU', 'faces'], **options) == {
        'YOLO with IoU': {'sizes': {'few': {'error': 'killed'}}}, 'faces': stored['rows']['faces'] | {
            'date': json.loads((tmp_path / 'y.json').read_text())['rows']['faces']['date'],
        },
    }  # fmt: skip
    assert said[-2] == 'YOLO with IoU, few: failed: killed'
    assert format_large_inputs(stored).splitlines()[2:] == ['| faces | 1.3 s, 2.3 GB |', '| relation | 1.3 s, 2.3 GB |']


def test_an_unknown_family(tmp_path):
    with pytest.raises(ValueError, match="no family is called 'horses'"):
        run_large_inputs(tmp_path / 'x.json', families=['horses'], work_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_real_trainings(tmp_path):
    rows = run_large_inputs(tmp_path / 'x.json', sizes=FEW, work_dir=tmp_path, repository=ROOT, workers=1)
    assert set(rows) == set(FAMILIES)
    assert all(row['sizes']['few']['seconds'] > 0 for row in rows.values())
