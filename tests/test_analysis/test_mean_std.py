"""What is said of mean and std of a data preprocessor."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdet_ext.analysis.mean_std import check_preprocessor, format_stats, run_mean_std
from mmdet_ext.analysis.pixel_stats import PixelStats
from tests.tiny_coco import make_tiny_coco, tiny_config

BLUE, GREEN, RED = 40.0, 80.0, 160.0
RGB = [123.675, 116.28, 103.53]


def stats(mean=(BLUE, GREEN, RED), std=(20.0, 30.0, 40.0), high=255.0):
    mean, std = np.array(mean), np.array(std)
    return PixelStats(3, 1000, mean, std**2 * 1000, high)


def check(found=None, pipeline=(), **node):
    loader = dict(dataset=dict(type='CocoDataset', pipeline=list(pipeline)))
    cfg = Config(dict(model=dict(data_preprocessor=node), train_dataloader=loader))
    return check_preprocessor(cfg, stats() if found is None else found)


def test_the_measured_values_are_right_in_either_order():
    for flipped in (False, True):
        order = slice(None, None, -1 if flipped else 1)
        mean, std = [BLUE, GREEN, RED][order], [20.0, 30.0, 40.0][order]
        (note,) = check(mean=mean, std=std, bgr_to_rgb=flipped)
        assert note.endswith('a mean of 0.00, 0.00, 0.00 and a std of 1.00, 1.00, 1.00.')
        notes = check(mean=mean, std=std, bgr_to_rgb=not flipped)
        wanted = ('RGB', 'False') if flipped else ('BGR', 'True')
        assert notes[1].startswith(f'It seems that mean is in the order {wanted[0]}, but with bgr_to_rgb={wanted[1]}')
        assert f'write bgr_to_rgb={flipped}' in notes[1]


def test_the_order_of_imagenet():
    found = stats([100.0, 110, 120], [60.0, 60, 60])
    assert len(check(found, mean=RGB, std=[58.0, 57, 57], bgr_to_rgb=True)) == 1
    notes = check(found, mean=RGB, std=[58.0, 57, 57], bgr_to_rgb=False)
    assert notes[1].startswith("ImageNet's mean is in the order RGB, but with bgr_to_rgb=False the channels come the")
    notes = check(found, mean=RGB[::-1], std=[1.0, 1, 1], bgr_to_rgb=True)
    assert notes[1].startswith("ImageNet's mean is in the order BGR, but with bgr_to_rgb=True")
    assert notes[2].startswith('std 1 only centres the pixels')
    notes = check(found, mean=RGB[::-1], std=[1.0], bgr_to_rgb=False)
    assert len(notes) == 2
    assert '(measured: [60, 60, 60])' in notes[1]


def test_scales():
    notes = check(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], bgr_to_rgb=True)
    assert 'look as if for pixels from 0 to 1, but mmdet leaves them from 0 to 255: multiply by 255' in notes[1]
    assert notes[1].endswith('From scratch: mean=[160, 80, 40], std=[40, 30, 20], bgr_to_rgb=True.')
    notes = check(stats([0.4, 0.4, 0.4], [0.2, 0.2, 0.2], high=1.0), mean=RGB, std=[58.0] * 3, bgr_to_rgb=True)
    assert 'mean is for pixels from 0 to 255, but the images are from 0 to 1' in notes[1]


def test_values_that_are_far_off():
    grey = stats([20.0, 20, 20], [10.0, 10, 10])
    notes = check(grey, mean=RGB, std=[58.4, 57.1, 57.4], bgr_to_rgb=True)
    assert notes[1].startswith('These are far from the measured values: right for a pretrained backbone')
    # The mean fits, the std does not.
    notes = check(grey, mean=[20.0] * 3, std=[50.0] * 3, bgr_to_rgb=False)
    assert notes[1].endswith('From scratch: mean=[20, 20, 20], std=[10, 10, 10], bgr_to_rgb=False.')


def test_nothing_and_twice():
    (note,) = check()
    assert note == (
        'The data preprocessor normalises nothing: pixels reach the model as they are (up to 255). From scratch: '
        'mean=[160, 80, 40], std=[40, 30, 20], bgr_to_rgb=True.'
    )
    notes = check(mean=RGB, std=[58.0] * 3, bgr_to_rgb=True, pipeline=[dict(type='Normalize', mean=RGB, std=RGB)])
    assert notes[0].startswith('The training pipeline has a Normalize, and the data preprocessor normalises once more')
    assert check_preprocessor(Config({}), stats())[0].startswith('The data preprocessor normalises nothing')


def test_an_inner_preprocessor_is_meant():
    inner = dict(mean=[BLUE, GREEN, RED], std=[20.0, 30, 40])
    assert 'a mean of 0.00' in check(data_preprocessor=inner)[0]


def test_values_that_cannot_be():
    assert check(mean=[1.0, 2.0], std=[1.0] * 3)[0] == 'mean and std have 2 and 3 values, the images 3 channels.'
    assert check(mean=[99.0] * 3, std=[9.0, 0.0, 9.0])[0].startswith('std must be above 0, and mean and std finite, go')
    single = stats([30.0], [9.0])
    assert check(single, mean=[30.0], std=[9.0])[0].endswith('a mean of 0.00 and a std of 1.00.')
    assert check(single)[0].endswith('From scratch: mean=[30], std=[9].')


def test_table():
    lines = format_stats(stats()).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == ['RGB (bgr_to_rgb=True)', '0 to 255', '[160, 80, 40]', '[40, 30, 20]']
    assert cells[1][0] == 'BGR (bgr_to_rgb=False)'
    assert cells[3] == ['BGR (bgr_to_rgb=False)', '0 to 1', '[0.156863, 0.313725, 0.627451]',
                        '[0.0784314, 0.117647, 0.156863]']  # fmt: skip
    assert '[127.5]' in format_stats(stats([0.5], [0.1], high=1.0))
    wide = format_stats(stats([5000.0], [100.0], high=65535.0))
    assert '0 to 65535 (as loaded)' in wide
    assert len(wide.splitlines()) == 3


@pytest.fixture
def tiny(tmp_path):
    paths = make_tiny_coco(tmp_path / 'data', n=4)
    config = tmp_path / 'tiny.py'
    config.write_text(tiny_config(paths))
    return config, paths


def test_from_a_config(tiny, tmp_path):
    config, paths = tiny
    said = []
    result = run_mean_std(config, say=said.append)
    pixels = np.concatenate([cv2.imread(f'{paths["images"]}/{i}.png').reshape(-1, 3) for i in range(4)])
    np.testing.assert_allclose(result['mean'], pixels.mean(0))
    np.testing.assert_allclose(result['std'], pixels.std(0))
    assert (result['images'], result['pixels']) == (4, len(pixels))
    assert said[0] == f'4 images, {len(pixels)} pixels'
    assert said[2:] == [f'- {note}' for note in result['notes']]
    assert result['notes'][0].startswith('mean [50, 50, 50], std [60, 60, 60], bgr_to_rgb=False make of the')
    other = tmp_path / 'other.py'
    other.write_text(tiny_config(make_tiny_coco(tmp_path / 'more', n=2)))
    options = {'model.data_preprocessor.mean': None, 'model.data_preprocessor.std': None}
    result = run_mean_std(config, dataset=other, cfg_options=options, workers=1, num=1, say=said.append)
    assert result['images'] == 1
    assert result['notes'][0].startswith('The data preprocessor normalises nothing')


def test_the_workers_of_the_config(tiny, monkeypatch):
    from mmdet_ext.analysis import mean_std

    seen = []
    monkeypatch.setattr(mean_std, 'measure_pixels', lambda sets, num, workers, seed: seen.append(workers) or stats())
    run_mean_std(tiny[0], cfg_options={'train_dataloader.num_workers': 3}, say=lambda _: None)
    run_mean_std(tiny[0], workers=0, cfg_options={'train_dataloader.num_workers': 3}, say=lambda _: None)
    assert seen == [3, 0]


def test_no_config(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no config'):
        run_mean_std(tmp_path / 'none.py')
