"""The official settings, from .mat files and as json."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from mmdet_ext.evaluation.wider_settings import read_settings, wider_mat_to_json
from tests.test_evaluation.wider_case import IMAGES, cells, write_mats


def test_reads_the_official_files(tmp_path):
    settings = read_settings(write_mats(tmp_path))
    assert list(settings) == ['0--Parade/0_Parade_1', '0--Parade/0_Parade_2', '1--Handshaking/1_Handshaking_7']
    first, second, third = settings.values()
    assert first.boxes.tolist() == [[10, 10, 50, 60], [100, 10, 120, 34], [200, 10, 208, 20]]
    assert first.keeps.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert second.keeps.tolist() == [[False], [False], [True]]
    assert third.keeps.tolist() == [[True, False]] * 3


def test_json_holds_the_same(tmp_path):
    counts = wider_mat_to_json(write_mats(tmp_path / 'mats'), tmp_path / 'settings.json')
    assert counts == {'images': 3, 'faces': 6, 'easy': 2, 'medium': 3, 'hard': 5}
    official, converted = read_settings(tmp_path / 'mats'), read_settings(tmp_path / 'settings.json')
    assert list(official) == list(converted)
    for name, image in official.items():
        np.testing.assert_array_equal(image.boxes, converted[name].boxes)
        np.testing.assert_array_equal(image.keeps, converted[name].keeps)


def test_an_image_without_faces(tmp_path):
    write_mats(tmp_path)
    boxes = [cells([np.zeros((0, 0)), np.array(IMAGES[1][2])]), cells([np.array(IMAGES[2][2])])]
    names = [cells(['a', 'b']), cells(['c'])]
    savemat(tmp_path / 'wider_face_val.mat',
            {'event_list': cells(['x', 'y']), 'file_list': cells(names), 'face_bbx_list': cells(boxes)})  # fmt: skip
    for setting in ('easy', 'medium', 'hard'):
        none = np.zeros((0, 0))
        savemat(tmp_path / f'wider_{setting}_val.mat', {'gt_list': cells([cells([none, none]), cells([none])])})
    settings = read_settings(tmp_path)
    assert settings['x/a'].boxes.shape == (0, 4)
    assert settings['x/a'].keeps.shape == (3, 0)


@pytest.mark.parametrize('name', ['wider_face_val.mat', 'wider_medium_val.mat'])
def test_missing_file(tmp_path, name):
    write_mats(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf'{name} is missing: .*eval_tools\.zip at http://shuoyang1213'):
        read_settings(tmp_path)


def test_missing_folder_or_json(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere does not exist: .*eval_tools\.zip'):
        read_settings(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r'nowhere is no folder: .*eval_tools\.zip'):
        wider_mat_to_json(tmp_path / 'nowhere', tmp_path / 'out.json')


@pytest.mark.parametrize(
    ('text', 'message'), [('{', 'is no json'), ('[]', 'does not hold settings'), ('{"a": 1}', 'does not hold settings')]
)
def test_wrong_json(tmp_path, text, message):
    (tmp_path / 'settings.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_settings(tmp_path / 'settings.json')


def test_wrong_mat(tmp_path):
    write_mats(tmp_path)
    (tmp_path / 'wider_easy_val.mat').write_bytes(b'no matlab, but long enough to be looked at' * 9)
    with pytest.raises(ValueError, match=r'wider_easy_val\.mat is no \.mat file'):
        read_settings(tmp_path)
    savemat(tmp_path / 'wider_easy_val.mat', {'other': 1})
    with pytest.raises(ValueError, match=r'wider_easy_val\.mat holds no gt_list'):
        read_settings(tmp_path)
    savemat(tmp_path / 'wider_easy_val.mat', {'gt_list': cells([cells([np.zeros((0, 0))])])})
    with pytest.raises(ValueError, match=r'list \[2, 2, 2, 1, 2, 2\] events'):
        read_settings(tmp_path)
    none = np.zeros((0, 0))
    savemat(tmp_path / 'wider_easy_val.mat', {'gt_list': cells([cells([none]), cells([none])])})
    with pytest.raises(ValueError, match=r'list \[2, 2, 1, 2, 2\] images of 0--Parade'):
        read_settings(tmp_path)


def test_wrong_boxes_and_indices(tmp_path):
    write_mats(tmp_path)
    many = np.array([[7]])
    none = np.zeros((0, 0))
    savemat(tmp_path / 'wider_hard_val.mat', {'gt_list': cells([cells([none, many]), cells([none])])})
    with pytest.raises(ValueError, match='hard names face 6 of 0--Parade/0_Parade_2, which has 1 faces'):
        wider_mat_to_json(tmp_path, tmp_path / 'out.json')
    assert not (tmp_path / 'out.json').exists()
    savemat(tmp_path / 'wider_face_val.mat',
            {'event_list': cells(['x']), 'file_list': cells([cells(['a'])]),
             'face_bbx_list': cells([cells([np.zeros((1, 5))])])})  # fmt: skip
    for setting in ('easy', 'medium', 'hard'):
        savemat(tmp_path / f'wider_{setting}_val.mat', {'gt_list': cells([cells([none])])})
    with pytest.raises(ValueError, match=r'the boxes of x/a have the shape \(1, 5\)'):
        read_settings(tmp_path)


def test_json_is_plain(tmp_path):
    wider_mat_to_json(write_mats(tmp_path), tmp_path / 'settings.json')
    content = json.loads((tmp_path / 'settings.json').read_text())
    assert content['images']['0--Parade/0_Parade_1'] == {
        'boxes': [[10, 10, 40, 50], [100, 10, 20, 24], [200, 10, 8, 10]],
        'easy': [0], 'medium': [0, 1], 'hard': [0, 1, 2],
    }  # fmt: skip
