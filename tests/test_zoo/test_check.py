"""Every fault of a metafile is a sentence; ours have none."""

import re
from pathlib import Path

import mmengine.config.utils
import pytest
from mmengine.config import Config

from mmdet_ext.version import __version__
from mmdet_ext.zoo.check import find_problems, find_stale_tables
from mmdet_ext.zoo.metafile import read_entries, read_metafile, write_metafile
from tests.test_zoo.zoo_case import METAFILE, README, content, entry, make_root

ROOT = Path(__file__).parents[2]
RESULTS = [{'Task': 't', 'Dataset': 'd', 'Metrics': {'box AP': 1.0}}]
NAME = 'tiny_20240102_030405-01234567.pth'
TRAINED = entry('tiny', Results=RESULTS, Weights=f'https://there/{NAME}')


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path)


def problems(root: Path, weights: bool = True, **lists) -> list[str]:
    write_metafile(root / METAFILE, content(**lists))
    return find_problems(root, weights)


def without(key: str, value: dict | None = None) -> dict:
    return {name: item for name, item in (value or TRAINED).items() if name != key}


def test_nothing_is_wrong(root):
    assert find_problems(root) == []
    assert (
        problems(root, Models=[TRAINED, entry('large', Results=RESULTS, Weights=f'x/{NAME}')], Untrained=[])[1:] == []
    )
    assert problems(root, Models=[TRAINED], Untrained=[entry('large', Alias=['l'])]) == []


@pytest.mark.parametrize(
    ('row', 'sentence'),
    [
        (entry('none'), 'config configs/small/none.py is not there: correct Config, or remove the entry.'),
        (entry('tiny', Config=None), 'config None is not there: correct Config, or remove the entry.'),
        (entry('tiny', **{'In Collection': 'Large'}), 'collection Large is not there: there are Small.'),
        (without('In Collection', entry('tiny')), 'collection None is not there: there are Small.'),
        (entry('tiny', Name='Tiny'), 'Name must be that of its config, tiny, in lower case.'),
        (entry('tiny', Alias='t'), 'Alias must be a list.'),
        (entry('tiny', Metadata={'Epochs': 1}), "Metadata has no 'Training Data': write what it is to be trained on."),
        (entry('tiny', Metadata=None), "Metadata has no 'Training Data': write what it is to be trained on."),
        (
            entry('tiny', Metadata={'Training Data': 'x', 'a': {}, 'b': []}),
            'Metadata: a must be a text, a number or a list that is not empty.',
        ),
        (entry('tiny', Results=RESULTS), "it is one of Untrained, but has 'Results': leave it to tools/zoo.py"),
        (entry('tiny', Weights=None), "it is one of Untrained, but has 'Weights': leave it to tools/zoo.py"),
    ],
)
def test_untrained(root, row, sentence):
    found = problems(root, Untrained=[row])
    assert any(line.startswith(f'{METAFILE}: {row["Name"]}: {sentence}') for line in found), found


@pytest.mark.parametrize(
    ('row', 'sentence'),
    [
        (without('Weights'), "it is one of Models, but has no 'Weights': move it to Untrained;"),
        (without('Results'), "it is one of Models, but has no 'Results': move it to Untrained;"),
        ({**TRAINED, 'Weights': 'a/b.pth'}, r'Weights b\.pth is no published checkpoint of it: the name must be tiny_'),
        ({**TRAINED, 'Weights': f'http://a/other{NAME}'}, f'Weights other{NAME} is no published checkpoint of it'),
        (
            {**TRAINED, 'Weights': f'work_dirs/zoo/{NAME}'},
            rf'There is no checkpoint .*work_dirs/zoo/{NAME}\. python tools/zoo\.py --only tiny makes it; --url says',
        ),
    ],
)
def test_trained(root, row, sentence):
    (found,) = problems(root, Models=[row], Untrained=[])
    assert re.match(rf'{METAFILE}: tiny: {sentence}', found)


def test_local_checkpoints_are_looked_at_unless_not_wanted(root):
    row = {**TRAINED, 'Weights': NAME}
    (root / NAME).write_text('something else')
    (found,) = problems(root, Models=[row], Untrained=[])
    assert found.startswith(f'{METAFILE}: tiny: {root / NAME} has other content than its name says')
    assert problems(root, weights=False, Models=[row], Untrained=[]) == []


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'README': 'configs/small/none.md'}, 'README configs/small/none.md is not there: correct it, or write'),
        ({'README': None}, 'README None is not there'),
        ({'README': 'configs/small/tiny.py'}, 'configs/small/tiny.py has no table: write the lines "<!-- zoo '),
        ({'Code': {'URL': 'none.py'}}, "Code URL 'none.py' is neither an address nor a path from the root"),
        ({'Code': None}, "Code URL '' is neither"),
        ({'Paper': {'URL': 'x'}}, 'Paper needs URL and Title.'),
    ],
)  # fmt: skip
def test_collections(root, changes, sentence):
    (found,) = problems(root, Collections=[{**content()['Collections'][0], **changes}])
    assert found.startswith(f'{METAFILE}: collection Small: {sentence}')


def test_names_are_unique(root):
    found = problems(root, Collections=2 * content()['Collections'], Untrained=[entry('tiny'), entry('tiny')])
    assert found == [
        'tiny is the name of 2 entries: rename one.', 'Small is the name of 2 collections: rename one.',
    ]  # fmt: skip


def test_an_entry_of_another_family(root):
    (root / 'configs/_base_/lost.py').write_text('')
    (found,) = problems(root, Untrained=[entry('lost', Config='configs/_base_/lost.py')])
    assert 'config configs/_base_/lost.py is of another family: its entry belongs into the metafile beside it' in found


def test_index(root):
    (root / 'configs' / 'new').mkdir()
    (root / 'model-index.yml').write_text(f'Import: [{METAFILE}, {METAFILE}, configs/old/metafile.yml]')
    assert find_problems(root) == [
        f'{root}/model-index.yml does not name configs/new/metafile.yml: add it to Import.',
        f'{root}/model-index.yml names {METAFILE} 2 times.',
        f'{root}/configs/old/metafile.yml is not there: write it as mmdet_ext/zoo/metafile.py says, or correct '
        'model-index.yml.',
    ]
    (root / METAFILE).write_text('a: [')
    assert any('cannot be read as YAML' in line for line in find_problems(root))
    (root / 'model-index.yml').unlink()
    (line,) = find_problems(root)
    assert 'start from the root of a checkout' in line


def test_stale_tables(root):
    readme = root / 'configs/small/README.md'
    assert find_stale_tables(root) == [
        f'{readme}: tables are not up to date; tools/analysis_tools/readme_tables.py writes them.'
    ]
    readme.write_text(README.replace('end -->', 'stop -->'))
    (line,) = find_stale_tables(root)
    assert 'are not pairs' in line
    readme.unlink()
    assert find_stale_tables(root) == []


class TestOurs:
    """The zoo of this repository; a clone has no checkpoints."""

    def test_nothing_is_wrong(self):
        assert find_problems(ROOT, weights=False) == []
        assert find_stale_tables(ROOT) == []

    def test_they_are_as_the_tool_writes_them(self, tmp_path):
        for path in (ROOT / 'configs').glob('*/metafile.yml'):
            copy = tmp_path / 'metafile.yml'
            copy.write_text(path.read_text())
            write_metafile(copy, read_metafile(path))
            assert copy.read_text() == path.read_text()

    def test_epochs_are_those_of_the_configs(self, read_bases_once, monkeypatch):
        def not_found(*_):
            raise ValueError  # as mmengine does in the end, once it has read all metafiles of mmdet

        monkeypatch.setattr(mmengine.config.utils, '_get_cfg_metainfo', not_found)
        told, found = {}, {}
        for one in read_entries(ROOT):
            cfg = Config.fromfile(ROOT / one.content['Config'], import_custom_modules=False)
            told[one.name], found[one.name] = one.content['Metadata']['Epochs'], cfg.train_cfg.max_epochs
        assert told == found

    def test_code_is_of_this_version(self):
        for path in (ROOT / 'configs').glob('*/metafile.yml'):
            for row in read_metafile(path)['Collections']:
                assert row['Code']['Version'] == __version__

    def test_the_zoo_has_every_kind_of_small_data(self):
        data = {e.content['Metadata']['Training Data'] for e in read_entries(ROOT) if e.zoo}
        assert {'chest phantom', 'face phantom', 'BCCD', 'DeepPCB tiles', 'hdBPMN node tiles'} <= data
        assert {'COCO', 'ChestX-Det', 'WIDER FACE'} <= {
            e.content['Metadata']['Training Data'] for e in read_entries(ROOT)
        }
