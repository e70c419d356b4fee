import contextlib
import copy
import io
import json
import runpy
import shutil
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_ext.datasets import chest_phantom
from mmdet_ext.datasets.chest_phantom import (
    CLASSES,
    PARTS,
    VERSION,
    make_chest_phantom,
    name_classes,
    phantom_hash,
    read_by_rules,
)
from mmdet_ext.datasets.phantoms.chest_scene import LOOKS

TOOL = Path(__file__).parents[2] / 'tools/dataset_tools/make_chest_phantom.py'
# Looks and rules are frozen with VERSION: whoever has to change this hash has to raise the version too.
GOLDEN = ('1', '04bc28ff2361fecad38bbef6ac93bd48b75d61d175f098da517e5307f471ac78')


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'phantom'
    return out, make_chest_phantom(out, train=40, val=8, size=64, progress=False)


@pytest.fixture
def copied(phantom, tmp_path):
    return shutil.copytree(phantom[0], tmp_path / 'copy')


def _load(out, name):
    return json.loads((out / 'annotations' / f'{name}.json').read_text())


def _small(out, **options):
    return make_chest_phantom(out, **({'train': 1, 'val': 0, 'size': 64, 'progress': False} | options))


def test_golden_hash(tmp_path):
    info = make_chest_phantom(tmp_path / 'golden', train=4, val=2, progress=False, preview=False)
    assert (VERSION, info['hash']) == GOLDEN


def test_layout_and_info(phantom):
    out, info = phantom
    assert (info['name'], info['version'], info['seed'], info['size']) == ('chest phantom', VERSION, 0, 64)
    assert info['counts'] == {'train': 40, 'val': 8}
    assert info['reused'] is False
    assert json.loads((out / 'phantom.json').read_text()) == {k: v for k, v in info.items() if k != 'reused'}
    assert info['hash'] == phantom_hash(out)
    assert cv2.imread(str(out / 'preview.png')).shape == (3 * 480, 4 * 480, 3)
    assert sorted(path.name for path in out.iterdir()) == ['annotations', 'images', 'phantom.json', 'preview.png']
    for split, count in (('train', 40), ('val', 8)):
        coco, parts = _load(out, split), _load(out, f'parts_{split}')
        assert coco['info']['hash'] == info['hash']
        assert [category['name'] for category in coco['categories']] == list(CLASSES)
        names = [f'{k + 1:06d}.png' for k in range(count)]
        assert [image['file_name'] for image in coco['images']] == names == list(parts)
        assert sorted(path.name for path in (out / 'images' / split).iterdir()) == names
        assert cv2.imread(str(out / 'images' / split / names[0]), cv2.IMREAD_UNCHANGED).shape == (64, 64)
        objects = Counter(CLASSES[annotation['category_id'] - 1] for annotation in coco['annotations'])
        assert info['classes'][split] == {name: objects[name] for name in CLASSES}


def test_annotations_agree_with_their_masks(phantom):
    coco = _load(phantom[0], 'train')
    assert len({annotation['id'] for annotation in coco['annotations']}) == len(coco['annotations']) > 50
    for annotation in coco['annotations']:
        x, y, w, h = annotation['bbox']
        assert 0 <= x < x + w <= 64
        assert 0 <= y < y + h <= 64
        corners = np.reshape(annotation['segmentation'][0], (-1, 2))
        np.testing.assert_allclose([*corners.min(0), *np.ptp(corners, axis=0)], annotation['bbox'], atol=0.011)
        rle = coco_mask.frPyObjects(annotation['segmentation'], 64, 64)
        assert annotation['area'] == coco_mask.area(rle)[0] > 0
        np.testing.assert_allclose(coco_mask.toBbox(rle)[0], annotation['bbox'], atol=2.5)
        assert annotation['iscrowd'] == 0


def test_parts_are_inside_the_image(phantom):
    for boxes in _load(phantom[0], 'parts_train').values():
        assert tuple(sorted(boxes)) == tuple(sorted(PARTS))
        for x, y, w, h in boxes.values():
            assert min(x, y) >= 0
            assert min(w, h) > 5
            assert max(x + w, y + h) <= 64.01


def test_reader_of_the_rules_reaches_ap_1_and_never_sees_classes(phantom):
    content = _load(phantom[0], 'train')
    blind = copy.deepcopy(content)
    for annotation in blind['annotations']:
        del annotation['category_id'], annotation['segmentation']
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(phantom[0] / 'annotations/train.json'))
        evaluation = COCOeval(coco, coco.loadRes(read_by_rules(blind)), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    present = {annotation['category_id'] for annotation in content['annotations']}
    assert len(present) == len(CLASSES)


@given(st.lists(st.sampled_from(LOOKS), max_size=14), st.randoms())
def test_rules(looks, random):
    names = name_classes(looks)
    assert len(names) == len(looks)
    for look, name in zip(looks, names, strict=True):
        if look == 'small round':
            count = looks.count(look)
            assert name == ('nodule' if count == 1 else 'multiple nodules' if count < 5 else 'diffuse nodules')
        elif look == 'medium blurred':
            assert (name == 'tuberculosis') == ('cavity' in looks)
            assert (name == 'atelectasis') == ('effusion' in looks and 'cavity' not in looks)
            assert name in ('tuberculosis', 'atelectasis', 'consolidation')
        else:
            assert name == {'effusion': 'pleural effusion'}.get(look, look)
    order = list(range(len(looks)))
    random.shuffle(order)
    assert name_classes([looks[i] for i in order]) == [names[i] for i in order]


def test_unknown_look():
    with pytest.raises(ValueError, match="unknown look 'star'"):
        name_classes(['mass', 'star'])


def test_the_same_parameters_give_the_same_bytes(phantom, tmp_path):
    out, info = phantom
    make_chest_phantom(tmp_path / 'again', train=40, val=8, size=64, progress=False)
    files = [path.relative_to(out) for path in out.rglob('*') if path.is_file()]
    assert len(files) == 40 + 8 + 4 + 2
    for file in files:
        assert (out / file).read_bytes() == (tmp_path / 'again' / file).read_bytes(), file
    assert _small(tmp_path / 'other', seed=1)['hash'] != _small(tmp_path / 'zero')['hash'] != info['hash']


def test_a_larger_set_starts_with_the_smaller_one(phantom, tmp_path):
    _small(tmp_path / 'few', train=3, val=2)
    for split, count in (('train', 3), ('val', 2)):
        few, many = _load(tmp_path / 'few', split), _load(phantom[0], split)
        assert few['annotations'] == [a for a in many['annotations'] if a['image_id'] <= count]
        for image in few['images']:
            name = Path('images') / split / image['file_name']
            assert (tmp_path / 'few' / name).read_bytes() == (phantom[0] / name).read_bytes()
    first = cv2.imread(str(tmp_path / 'few/images/train/000001.png'))
    assert (first != cv2.imread(str(tmp_path / 'few/images/val/000001.png'))).any()


def test_size_scales_the_annotations(phantom, tmp_path):
    _small(tmp_path / 'large', train=5, size=128)
    large, small = _load(tmp_path / 'large', 'train')['annotations'], _load(phantom[0], 'train')['annotations']
    assert large
    for a, b in zip(large, small, strict=False):
        assert (a['look'], a['category_id']) == (b['look'], b['category_id'])
        np.testing.assert_allclose(a['bbox'], 2 * np.array(b['bbox']), atol=0.05)


def test_hash_reads_pixels_and_annotations_not_files(copied, phantom):
    image, annotations = copied / 'images/val/000003.png', copied / 'annotations/val.json'
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(image), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    annotations.write_text(json.dumps(json.loads(annotations.read_text()), indent=1))
    assert phantom_hash(copied) == phantom[1]['hash']
    pixels[0, 0] += 1
    cv2.imwrite(str(image), pixels)
    assert phantom_hash(copied) != phantom[1]['hash']
    image.write_bytes(b'no picture')
    with pytest.raises(FileNotFoundError, match='000003'):
        phantom_hash(copied)
    annotations.unlink()
    with pytest.raises(FileNotFoundError, match=r'val\.json'):
        phantom_hash(copied)


def test_finished_set_is_reused(copied, phantom):
    before = (copied / 'phantom.json').stat().st_mtime_ns
    info = make_chest_phantom(copied, train=40, val=8, size=64)
    assert info == phantom[1] | {'reused': True}
    assert (copied / 'phantom.json').stat().st_mtime_ns == before


def test_other_or_damaged_set_needs_overwrite(copied):
    with pytest.raises(ValueError, match=r'seed 0 instead of 5.*--overwrite'):
        make_chest_phantom(copied, train=40, val=8, size=64, seed=5)
    (copied / 'images/train/000001.png').unlink()
    with pytest.raises(ValueError, match=r'damaged.*--overwrite'):
        make_chest_phantom(copied, train=40, val=8, size=64)
    info = _small(copied, overwrite=True, preview=False)
    assert info['counts'] == {'train': 1, 'val': 0}
    assert info['hash'] == phantom_hash(copied)
    assert not (copied / 'preview.png').exists()
    assert [path.name for path in copied.parent.iterdir()] == ['copy']


def test_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / 'mine').mkdir()
    assert _small(tmp_path / 'mine')['reused'] is False  # an empty folder may be filled
    shutil.rmtree(tmp_path / 'mine')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.txt').write_text('ten years of work')
    with pytest.raises(ValueError, match='is not a chest phantom'):
        _small(tmp_path / 'mine', overwrite=True)
    assert (tmp_path / 'mine/thesis.txt').exists()


def test_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(scene, size, noise):
        raise KeyboardInterrupt

    monkeypatch.setattr(chest_phantom, 'draw_chest', stop)
    with pytest.raises(KeyboardInterrupt):
        _small(tmp_path / 'set')
    assert not list(tmp_path.iterdir())


def test_full_disk_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr('cv2.imwrite', lambda *args: False)
    with pytest.raises(OSError, match='cannot write'):
        _small(tmp_path / 'set')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'size': 63}, 'size must be a whole number from 64 to 4096, got 63'),
        ({'size': 100.5}, 'size'),
        ({'train': -1}, 'train must be'),
        ({'val': -3}, 'val must be'),
        ({'seed': -1}, 'seed must be'),
        ({'train': 0, 'val': 0}, 'nothing to draw'),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        _small(tmp_path / 'set', **options)
    assert not (tmp_path / 'set').exists()


def test_command(tmp_path, monkeypatch, capsys):
    def run(*args):
        base = ['--out', str(tmp_path / 'set'), '--train', '0', '--val', '2', '--size', '64', '--no-preview']
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *base, *args])
        runpy.run_path(str(TOOL), run_name='__main__')
        return capsys.readouterr().out

    first = run()
    assert 'written' in first
    assert phantom_hash(tmp_path / 'set') in first
    assert 'nothing to do' in run()
    with pytest.raises(SystemExit, match=r'error: .*--overwrite'):
        run('--seed', '4')
    assert 'written' in run('--seed', '4', '--overwrite')
