"""Links of pages to files of the repository."""

import pytest

from tests.test_docs.building import load

links = load('links')


@pytest.fixture
def repository(tmp_path):
    """Two pages, one of which is a README, and a README that is no page."""
    for name in (
        'README.md',
        'configs/a/README.md',
        'configs/b/README.md',
        'tools/t.py',
        'docs/zoo/b.md',
        'docs/c.png',
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('x')
    (tmp_path / 'docs/zoo/a.md').write_text('{% include-markdown "../../configs/a/README.md" %}\n')
    (tmp_path / 'docs/part.md').write_text('{% include-markdown "../configs/b/README.md" start="## B" end="## C" %}\n')
    return tmp_path


def resolve(text, repository, page='docs/part.md'):
    docs = repository / 'docs'
    return links.resolve_links(text, repository / page, docs, links.included_pages(docs))


def test_only_whole_files_have_pages(repository):
    assert links.included_pages(repository / 'docs') == {
        repository / 'configs/a/README.md': repository / 'docs/zoo/a.md'
    }


@pytest.mark.parametrize(
    ('text', 'wanted'),
    [
        ('[a](../configs/a/README.md)', '[a](zoo/a.md)'),
        ('[a](../configs/a/README.md#here)', '[a](zoo/a.md#here)'),
        ('[r](../README.md)', '[r](index.md)'),
        ('[`t.py`](../tools/t.py)', '`t.py`'),
        ('[b](../configs/b/README.md) [t](../tools)', 'b t'),
        ('[[1], two](../tools/t.py)', '[1], two'),
        ('[inside](zoo/b.md) [net](https://x.y/z) [here](#a) ![p](c.png)', None),
        ('```\n[a](../tools/t.py)\n```\n', None),
        ('- x\n\n  ~~~py\n  a[0](../none)\n  ~~~\n', None),
    ],
)
def test_links(text, wanted, repository):
    assert resolve(text, repository) == (text if wanted is None else wanted, [])


def test_from_a_page_in_a_folder(repository):
    text = '[a](../../configs/a/README.md) and [r](../../README.md)'
    assert resolve(text, repository, 'docs/zoo/b.md') == ('[a](a.md) and [r](../index.md)', [])


@pytest.mark.parametrize('target', ['../tools/gone.py', '../../elsewhere.md'])
def test_dead_links_are_told(target, repository):
    (repository.parent / 'elsewhere.md').write_text('not ours')
    assert resolve(f'[x]({target})', repository) == ('x', [target])
