"""Self-contained pages."""

import base64

import jinja2
import pytest

from mmdet_ext.analysis import report
from mmdet_ext.analysis.report import data_uri, format_number, write_report


def test_pictures_travel_inside_the_page(tmp_path):
    picture = tmp_path / 'a.png'
    picture.write_bytes(b'pixels')
    head, content = data_uri(picture).split(',')
    assert head == 'data:image/png;base64'
    assert base64.b64decode(content) == b'pixels'
    with pytest.raises(FileNotFoundError):
        data_uri(tmp_path / 'none.jpg')
    with pytest.raises(ValueError, match='no picture by its suffix'):
        data_uri(tmp_path / 'a.txt')


def test_numbers():
    assert format_number(None) == '–'
    assert format_number(0.12345) == '0.123'
    assert format_number(-0.5, digits=1) == '−0.5'
    assert format_number(0.5, digits=1, sign=True) == '+0.5'


def test_a_template_of_its_own_on_the_shared_base(tmp_path, monkeypatch):
    (tmp_path / 'p.svg').write_text('<svg/>')
    page = (
        "{% extends 'base.html.j2' %}{% import 'macros.html.j2' as parts %}"
        '{% block content %}<p>{{ text }}</p>{{ parts.difference(change) }}{{ parts.bars([("ours", 0.25)]) }}'
        "{% call parts.figure(picture, 'what') %}caption{% endcall %}{% endblock %}"
    )
    loader = jinja2.ChoiceLoader([jinja2.DictLoader({'own.html.j2': page}), jinja2.PackageLoader('mmdet_ext.analysis')])
    monkeypatch.setattr(report, 'PackageLoader', lambda _: loader)
    context = {'text': 'a < b', 'change': -0.25, 'picture': tmp_path / 'p.svg'}
    text = write_report(tmp_path / 'new' / 'r.html', 'own.html.j2', context).read_text(encoding='utf-8')
    assert '<p>a &lt; b</p>' in text
    assert '<span class="bad">−0.250</span>' in text
    assert 'width: 25.0%' in text
    assert 'src="data:image/svg+xml;base64,' in text
    del context['text']
    with pytest.raises(jinja2.UndefinedError, match='text'):
        write_report(tmp_path / 'r.html', 'own.html.j2', context)
