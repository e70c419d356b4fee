"""Pictures of the site: each is drawn by the package as it is, and stands on a page."""

import re
import sys

import cv2
import pytest

from tests.markdown_blocks import ROOT
from tests.test_docs.building import BUILDING, load

pictures = load('pictures')
PAGES = sorted((ROOT / 'docs').rglob('*.md'))


@pytest.mark.parametrize('name', pictures.PICTURES)
def test_it_can_be_drawn(name, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules['draw_phantoms'], 'TRAIN_IMAGES', 20)
    (file,) = pictures.draw([name], tmp_path)
    assert file == tmp_path / name
    if file.suffix == '.svg':
        text = file.read_text(encoding='utf-8')
        assert '</svg>' in text
        assert text.count('<path') > 5
    else:
        assert cv2.imread(str(file)).std() > 10


def test_the_same_bytes_each_time(tmp_path):
    first, second = (pictures.draw(['head.svg'], tmp_path / folder)[0].read_bytes() for folder in 'ab')
    assert first == second


def test_drawn_stored_and_shown_are_the_same():
    shown = {name for page in PAGES for name in re.findall(r'\]\((?:\.\./)?pictures/([^)]+)\)', page.read_text())}
    stored = {file.name for file in (ROOT / 'docs/pictures').iterdir()}
    assert shown == stored == set(pictures.PICTURES)


def test_a_picture_that_is_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(BUILDING / 'pictures.py'), 'heads'])
    with pytest.raises(SystemExit):
        pictures.main()
    assert 'there is no picture heads' in capsys.readouterr().err
