"""The site is built strictly, and holds together without a network and without a server."""

import importlib
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mmdet.registry
import pytest
from mmengine.registry import Registry

import mmdet_ext
from tests.markdown_blocks import ROOT

OWN = ROOT / '.venv-docs' / 'bin' / 'python'


class Page(HTMLParser):
    """Ids of a page, targets of its links, and what a browser fetches to show it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.feed(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        given = {name: value for name, value in attrs if value is not None}
        self.ids |= {given[name] for name in ('id', 'name') if name in given}
        if tag == 'a' and 'href' in given:
            self.links.append(given['href'])
        if tag in ('script', 'img', 'iframe') and 'src' in given:
            self.assets.append(given['src'])
        if tag == 'link' and given.get('rel') in ('stylesheet', 'icon', 'preconnect'):
            self.assets.append(given['href'])


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run MkDocs, the one installed here or the one that `make docs` has installed."""
    python = sys.executable if importlib.util.find_spec('mkdocs') else str(OWN)
    if not Path(python).exists():
        pytest.skip('MkDocs is not installed: `make docs` does that')
    # Not --quiet, which also hides warnings from --strict.
    command = [python, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(out)]
    environment = {**os.environ, 'NO_MKDOCS_2_WARNING': '1'}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('site')
    run = build(ROOT, folder)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope='module')
def pages(site) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob('*.html')) if file.name != '404.html'}


def test_links_and_anchors(site, pages):
    dead = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            known = pages[target].ids if target in pages else set()
            if not target.is_file() or (parts.fragment and target in pages and unquote(parts.fragment) not in known):
                dead.append(f'{file.relative_to(site)}: {link}')
    assert dead == []


def test_everything_a_page_needs_lies_beside_it(site, pages):
    absent = [
        f'{file.relative_to(site)}: {asset}'
        for file, page in pages.items()
        for asset in page.assets
        if not asset.startswith('data:') and not (file.parent / urlsplit(asset).path).is_file()
    ]
    assert absent == []
    assert (site / 'search' / 'search_index.js').is_file()


def test_formulas_are_mathml(site, pages):
    assert (site / 'losses.html').read_text(encoding='utf-8').count('<math') > 50
    assert [file for file in pages if 'class="arithmatex"' in file.read_text(encoding='utf-8')] == []


def test_no_marks_are_left(site, pages):
    """Includes, tables and roles have been filled in."""
    left = re.compile(r'\{%|include-markdown|&lt;!-- speed|:(?:func|class|meth|mod):<')
    assert [file.relative_to(site) for file in pages if left.search(file.read_text(encoding='utf-8'))] == []
    assert (site / 'speed.html').read_text(encoding='utf-8').count('<tr>') > 10


def test_lists_tables_and_fences_are_what_they_look_like(pages):
    """GitHub takes indents and missing lines that MkDocs does not: then they stand as text in a paragraph."""
    code = re.compile(r'<(pre|code|script)\b.*?</\1>', re.DOTALL)
    paragraphs = [
        (file.name, text)
        for file in pages
        for text in re.findall(r'<p>(.*?)</p>', code.sub('', file.read_text(encoding='utf-8')), re.DOTALL)
    ]
    assert len(paragraphs) > 1000
    assert [found for found in paragraphs if re.search(r'(?:^|\n)\s*(?:[-*] |\||```|===)', found[1])] == []


def test_every_component_is_in_the_reference(site):
    # Rooms that `import mmdet_ext` leaves alone register components too.
    for module in pkgutil.walk_packages(mmdet_ext.__path__, 'mmdet_ext.'):
        importlib.import_module(module.name)
    inventory = (site / 'objects.inv').read_bytes().split(b'\n', 4)[4]
    documented = {line.split()[0].rpartition('.')[2] for line in zlib.decompress(inventory).decode().splitlines()}
    registries = [registry for registry in vars(mmdet.registry).values() if isinstance(registry, Registry)]
    ours = {
        key
        for registry in registries
        for key, component in registry.module_dict.items()
        if component.__module__.startswith('mmdet_ext.')
    }
    assert len(ours) > 30
    assert ours - documented == set()


def test_what_is_wrong_fails_the_build(tmp_path):
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs/index.md').write_text('# A\n\n[gone](../tools/gone.py) and $x_1_2$\n')
    hooks = ROOT / 'docs/building/hooks.py'
    (tmp_path / 'mkdocs.yml').write_text(
        f'site_name: x\nhooks: [{hooks}]\nmarkdown_extensions:\n  - pymdownx.arithmatex:\n      generic: true\n'
    )
    run = build(tmp_path, tmp_path / 'out')
    assert run.returncode != 0
    assert "index.md links to '../tools/gone.py', which is not in the repository" in run.stderr
    assert "index.md: the formula 'x_1_2' cannot be translated" in run.stderr


def test_the_readmes_of_all_families_have_pages():
    """`configs/` and `tools/` have no README that the site lacks."""
    included = {
        (page.parent / name).resolve()
        for page in (ROOT / 'docs').rglob('*.md')
        for name in re.findall(r'include-markdown "([^"]+)"', page.read_text(encoding='utf-8'))
    }
    written = {file for folder in ('configs', 'tools') for file in (ROOT / folder).rglob('*.md')}
    assert written - included == set()
