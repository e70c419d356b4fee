"""Docstrings on the site."""

from types import SimpleNamespace

import pytest

from tests.test_docs.building import load

pytest.importorskip('griffe', reason='docstrings are read by requirements/docs.txt')
docstrings = load('docstrings')
TABLE = '=====  ===\nlook   of\n=====  ===\nround  one\nthin   two\n=====  ==='


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        ('see :func:`complete_iou_loss`.', 'see `complete_iou_loss`.'),
        ('a :class:`~mmdet_ext.graphs.CategoryGraph`', 'a `mmdet_ext.graphs.CategoryGraph`'),
        ('of :func:`.geometry.box_geometry` and :meth:`group`', 'of `geometry.box_geometry` and `group`'),
        ('`plain` and a: `b`', '`plain` and a: `b`'),
        (f'A.\n\n{TABLE}\n\nB.', f'A.\n\n```text\n{TABLE}\n```\n\nB.'),
        ('a == b\n=====\n', 'a == b\n=====\n'),
    ],
)
def test_marks_become_code(text, wanted):
    documented = SimpleNamespace(docstring=SimpleNamespace(value=text))
    docstrings.MarkdownDocstrings().on_object(obj=documented, loader=None)
    assert documented.docstring.value == wanted


def test_without_docstring():
    docstrings.MarkdownDocstrings().on_object(obj=SimpleNamespace(docstring=None), loader=None)
