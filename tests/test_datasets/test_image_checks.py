import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_ext.datasets import image_checks
from mmdet_ext.datasets.image_checks import check_images

SIZE = (64, 48)


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    for name in ('a.jpg', 'b.png', 'c.bmp'):
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def sentence(folder, names=('a.jpg', 'b.png', 'c.bmp'), size=SIZE, **kwargs):
    problems = check_images(dict.fromkeys(names, size), str(folder), where='train.json', **kwargs)
    assert [p.severity for p in problems] == ['error'] * len(problems)
    return '\n'.join(map(str, problems))


def test_good_images(folder):
    assert sentence(folder) == ''
    assert sentence(folder, size=None) == ''


def test_missing_folder_and_files(folder):
    assert 'nowhere' in sentence(folder / 'nowhere')
    text = sentence(folder, ['a.jpg', 'x.jpg', 'sub/y.jpg'])
    assert 'train.json: 2 of 3 images do not exist below' in text
    assert "'x.jpg', 'sub/y.jpg'" in text
    assert sentence(folder, ['x.jpg'], images='none') == ''


def test_empty_file(folder):
    (folder / 'b.png').write_bytes(b'')
    assert '1 of the 3 images read below' in sentence(folder)
    assert "are empty files: 'b.png'" in sentence(folder)


@pytest.mark.parametrize('name', ['a.jpg', 'b.png', 'c.bmp'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_truncated_file(folder, name, share):
    path = folder / name
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert f'are damaged or truncated: {name!r} (' in sentence(folder)


def test_no_image(folder):
    (folder / 'b.png').write_bytes(b'<html>not found</html>')
    assert "are in no known image format: 'b.png'" in sentence(folder)


def test_format_that_only_opencv_reads(folder, monkeypatch):
    def refuse(path):
        raise image_checks.UnidentifiedImageError(path)

    monkeypatch.setattr(Image, 'open', refuse)
    assert sentence(folder) == ''
    assert 'annotated 1x1, file 64x48' in sentence(folder, ['b.png'], (1, 1))


def test_other_size_lists_the_files(folder):
    text = sentence(folder, size=(48, 64))
    assert '3 of the 3 images read' in text
    assert "'a.jpg' (annotated 48x64, file 64x48), 'b.png'" in text


def test_exif_orientation_counts_as_opencv_reads_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', SIZE).save(tmp_path / 'a.jpg', exif=exif)
    height, width = cv2.imread(str(tmp_path / 'a.jpg')).shape[:2]
    assert (width, height) == (48, 64)
    assert sentence(tmp_path, ['a.jpg'], (48, 64)) == ''
    assert 'not as large' in sentence(tmp_path, ['a.jpg'], (64, 48))


def test_large_set_is_sampled_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(image_checks, 'SMALL_SET', 10)
    names = [f'{i:02}.png' for i in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(b'')
    assert '5 of the 5 images read' in sentence(tmp_path, names, num_images=5)
    assert "'00.png'" in sentence(tmp_path, names, num_images=5)
    assert '20 of the 20 images read' in sentence(tmp_path, names, images='all')
    assert 'and 15 more' in sentence(tmp_path, names, images='all')
