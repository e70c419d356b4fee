"""`train` and `test`: the flags of mmdet's tools."""

import pickle

import pytest
import torch
from mmengine.config import Config

from mmdet_ext.engine import launch
from mmdet_ext.engine.launch import load_config, train
from mmdet_ext.engine.launch import test as run_test
from tests.tiny_coco import data_config, make_tiny_coco, tiny_config, tiny_run

CHECK_HOOK = {'type': 'DatasetCheckHook'}


def test_work_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_run().config
    assert load_config(config).work_dir == 'work_dirs/tiny'
    assert load_config(config, work_dir=tmp_path).work_dir == str(tmp_path)
    assert load_config(config, cfg_options={'work_dir': 'here'}).work_dir == 'here'


def test_unknown_option_warns_and_is_merged(monkeypatch):
    said = []
    monkeypatch.setattr(launch, 'print_log', lambda text, *_: said.append(text))
    cfg = load_config(tiny_run().config, cfg_options={'model.backbone.depht': 34})
    assert cfg.model.backbone.depht == 34
    assert "the nearest name is 'model.backbone.depth'" in said[0]


def test_custom_imports_from_the_command_line(tmp_path, monkeypatch):
    (tmp_path / 'imported_by_option.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    load_config(tiny_run().config, cfg_options={'custom_imports.imports': ['imported_by_option']})
    import sys

    assert 'imported_by_option' in sys.modules


class _Stop(Exception):
    pass


def _config_of(monkeypatch, **options) -> Config:
    """The config that `train` hands to the Runner."""
    caught = []

    def stop(cfg, strict):
        caught.append(cfg)
        raise _Stop

    monkeypatch.setattr(launch, '_build_runner', stop)
    with pytest.raises(_Stop):
        train(tiny_run().config, **options)
    return caught[0]


def test_amp_and_lr(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match='needs a GPU'):
        train(tiny_run().config, work_dir=tmp_path, amp=True)
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg = _config_of(monkeypatch, work_dir=tmp_path, amp=True, auto_scale_lr=True)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.auto_scale_lr.enable
    assert not _config_of(monkeypatch, work_dir=tmp_path).auto_scale_lr.enable
    with pytest.raises(ValueError, match='add it'):
        train(tiny_run().config, work_dir=tmp_path, auto_scale_lr=True, cfg_options={'auto_scale_lr': None})


def test_resume_modes(monkeypatch, tmp_path):
    run = tiny_run()
    cfg = _config_of(monkeypatch, work_dir=tmp_path, resume='auto')
    assert (cfg.resume, cfg.load_from) == (False, None)
    start = str(run.work_dir / 'epoch_1.pth')
    cfg = _config_of(monkeypatch, work_dir=tmp_path, resume='auto', cfg_options={'load_from': start})
    assert (cfg.resume, cfg.load_from) == (False, start)
    cfg = _config_of(monkeypatch, work_dir=run.work_dir, resume='auto', cfg_options={'load_from': start})
    assert (cfg.resume, cfg.load_from) == (True, str(run.work_dir / 'epoch_3.pth'))
    path = str(run.work_dir / 'epoch_1.pth')
    cfg = _config_of(monkeypatch, work_dir=tmp_path, resume=path)
    assert (cfg.resume, cfg.load_from) == (True, path)
    cfg = _config_of(monkeypatch, work_dir=run.work_dir, cfg_options={'resume': True})
    assert cfg.load_from == str(run.work_dir / 'epoch_3.pth')


def test_resume_from_another_architecture_is_refused(tmp_path):
    run = tiny_run()
    with pytest.raises(ValueError, match='does not fit the model'):
        train(
            run.config,
            work_dir=tmp_path,
            resume=str(run.work_dir / 'epoch_1.pth'),
            cfg_options={'model.bbox_head.stacked_convs': 2},
        )


def test_fine_tuning_on_other_data(tmp_path):
    run = tiny_run()
    paths = make_tiny_coco(tmp_path / 'other', n=4, classes=('x', 'y', 'z'), seed=3)
    data = tmp_path / 'data.py'
    data.write_text(data_config(paths, classes=('x', 'y', 'z')))
    options = {'train_cfg.max_epochs': 1, 'load_from': str(run.work_dir / 'epoch_3.pth')}
    losses, state = run.train(work_dir=tmp_path / 'run', dataset=data, cfg_options=options)
    assert len(losses) == 2
    assert state['bbox_head.retina_cls.weight'].shape[0] == 3
    (log,) = (tmp_path / 'run').glob('*/*.log')
    text = log.read_text()
    assert 'tensors 0 are missing in it and 2 have another shape' in text
    assert [f'  another shape: bbox_head.retina_cls.{part}\n' in text for part in ('weight', 'bias')] == [True, True]
    metrics = run_test(run.config, tmp_path / 'run' / 'epoch_1.pth', work_dir=tmp_path / 'test', dataset=data)
    assert set(metrics) >= {'coco/bbox_mAP', 'coco/bbox_mAP_50'}


def test_predictions_pictures_and_tta(tmp_path):
    run = tiny_run()
    out = tmp_path / 'predictions.pkl'
    with pytest.warns(UserWarning, match='no tta_'):
        metrics = run_test(
            run.config,
            run.work_dir / 'epoch_3.pth',
            work_dir=tmp_path / 'test',
            out=str(out),
            show_dir='pictures',
            tta=True,
        )
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    assert len(pickle.loads(out.read_bytes())) == 4
    assert len(list(tmp_path.glob('test/*/pictures/*.png'))) == 4


def test_tta_recipe_of_the_config_and_wrapped_data():
    cfg = load_config(tiny_run().config)
    inner = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = {'type': 'RepeatDataset', 'times': 1, 'dataset': inner}
    cfg.tta_model = {'type': 'DetTTAModel', 'tta_cfg': {'max_per_img': 5}}
    cfg.tta_pipeline = [{'type': 'LoadImageFromFile'}]
    launch._set_test_time_augmentation(cfg)
    assert cfg.model.tta_cfg.max_per_img == 5
    assert cfg.model.module.type == 'RetinaNet'
    assert cfg.test_dataloader.dataset.dataset.pipeline == [{'type': 'LoadImageFromFile'}]


def test_out_must_be_a_pickle(tmp_path):
    with pytest.raises(ValueError, match=r'name a \.pkl file'):
        run_test(tiny_run().config, 'x.pth', work_dir=tmp_path, out='predictions.json')
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        run_test(tiny_run().config, tmp_path / 'x.pth', work_dir=tmp_path)


def test_runner_type(monkeypatch, tmp_path):
    built = []

    class Flexible:
        model = {}

    monkeypatch.setattr(launch.RUNNERS, 'build', lambda cfg: built.append(cfg) or Flexible())
    cfg = load_config(tiny_run().config, work_dir=tmp_path)
    cfg.runner_type, cfg.load_from = 'FlexibleRunner', str(tmp_path)
    assert isinstance(launch._build_runner(cfg, strict=True), Flexible)
    assert built[0].runner_type == 'FlexibleRunner'


def test_training_weights_are_what_the_checkpoint_holds():
    run = tiny_run()
    saved = torch.load(run.work_dir / 'epoch_3.pth', weights_only=False)['state_dict']
    assert all(torch.equal(saved[key], value) for key, value in run.state.items())


def test_data_are_checked_before_anything_is_built(tmp_path, monkeypatch):
    paths = make_tiny_coco(tmp_path / 'data', n=4)
    config = tmp_path / 'config.py'
    config.write_text(tiny_config(paths, classes=('b', 'a')))
    monkeypatch.setattr(launch, '_build_runner', lambda *_, **__: pytest.fail('built'))
    with pytest.raises(ValueError, match=r'(?s)metainfo.*order'):
        train(config, work_dir=tmp_path / 'run')
    with pytest.raises(ValueError, match=r'(?s)metainfo.*order'):
        run_test(config, tiny_run().work_dir / 'epoch_3.pth', work_dir=tmp_path / 'run')
    # Another process of the same run looks, and the config's own hook says how strictly.
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(pytest.fail.Exception, match='built'):
        train(config, work_dir=tmp_path / 'run')
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(pytest.fail.Exception, match='built'):
        train(config, work_dir=tmp_path / 'run', cfg_options={'custom_hooks': [CHECK_HOOK | {'strict': False}]})


@pytest.mark.parametrize('option', ['config', 'dataset'])
def test_a_missing_config_is_named(option):
    options = {'config': tiny_run().config} | {option: 'nope.py'}
    with pytest.raises(FileNotFoundError, match=r'There is no config nope\.py \(looked from'):
        load_config(options.pop('config'), **options)


def test_configs_without_our_runtime_get_its_hooks(monkeypatch, tmp_path):
    cfg = _config_of(monkeypatch, work_dir=tmp_path, cfg_options={'custom_hooks': None})
    assert [hook.type for hook in cfg.custom_hooks] == ['RandomStateHook', 'LossScopeHook', 'DatasetCheckHook']


def test_the_hook_knows_what_was_checked(monkeypatch, tmp_path):
    assert _config_of(monkeypatch, work_dir=tmp_path).custom_hooks[-1] == CHECK_HOOK | {'checked': ('train', 'val')}


def test_test_time_augmentation_packs_like_the_test_pipeline():
    pack = {'type': 'PackPartInputs', 'meta_keys': ('img_id',), 'min_area_ratio': 0.5}
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': (64, 64)}, pack]
    cfg = Config({'test_dataloader': {'dataset': {'pipeline': pipeline}}, 'model': {'type': 'RetinaNet'}})
    with pytest.warns(UserWarning, match='The config has no tta_'):
        launch._set_test_time_augmentation(cfg)
    ((packed,),) = cfg.test_dataloader.dataset.pipeline[-1].transforms[1:]
    assert (packed.type, packed.min_area_ratio) == ('PackPartInputs', 0.5)
    assert {'flip', 'flip_direction', 'img_id'} <= set(packed.meta_keys)


def test_test_time_augmentation_flips_before_the_ground_truth_is_there():
    names = ['LoadImageFromFile', 'LandmarkResize', 'LoadLandmarkAnnotations', 'PackLandmarkInputs']
    pipeline = [{'type': name} for name in names]
    cfg = Config({'test_dataloader': {'dataset': {'pipeline': pipeline}}, 'model': {'type': 'SingleStageDetector'}})
    with pytest.warns(UserWarning, match='LandmarkTTAModel'):
        launch._set_test_time_augmentation(cfg)
    *before, augment = cfg.test_dataloader.dataset.pipeline
    assert [node.type for node in before] == names[:2]
    assert [[node.type for node in step] for step in augment.transforms] == [['RandomFlip'] * 2, names[2:3], names[3:]]
    assert cfg.model.type == 'LandmarkTTAModel'


def test_what_a_run_starts_from_is_looked_for_first(tmp_path):
    paths = {'ann': str(tmp_path / 'nowhere.json'), 'images': str(tmp_path)}
    for name, extra in (('plain', ''), ('tuned', "load_from = 'work_dirs/plain/epoch_3.pth'\n")):
        (tmp_path / f'{name}.py').write_text(tiny_config(paths) + extra)
    with pytest.raises(FileNotFoundError, match=r'train it first: python tools/train\.py .*plain\.py'):
        train(tmp_path / 'tuned.py', work_dir=tmp_path / 'run')
    # Without it the data are next.
    with pytest.raises(ValueError, match=r'nowhere\.json'):
        train(tmp_path / 'tuned.py', work_dir=tmp_path / 'run', cfg_options={'load_from': None})
