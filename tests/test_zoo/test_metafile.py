"""Reading, writing, moving entries; and that mmengine's readers live with the form."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mmdet.apis import DetInferencer
from mmengine.config.utils import _get_cfg_metainfo
from mmengine.infer import BaseInferencer

from mmdet_ext.zoo.metafile import (
    list_metafiles,
    read_entries,
    read_metafile,
    replace_entry,
    write_metafile,
)
from tests.test_zoo.zoo_case import METAFILE, content, entry, make_root

TRAINED = entry('tiny', Results=[], Weights='https://there/tiny.pth')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_root(tmp_path_factory.mktemp('root'))


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'metafile.yml'


def test_entries(root):
    assert list_metafiles(root) == [METAFILE]
    assert [(e.name, e.metafile, e.trained, e.zoo) for e in read_entries(root)] == [
        ('tiny', METAFILE, False, True), ('large', METAFILE, False, False),
    ]  # fmt: skip


def test_the_head_stays_and_writing_again_changes_nothing(root):
    path = root / METAFILE
    before = path.read_text()
    assert before.startswith('# Its head.\nCollections:\n- Name: Small\n')
    write_metafile(path, read_metafile(path))
    assert path.read_text() == before
    assert list(path.parent.glob('*.tmp')) == []


_TEXTS = st.text(st.characters(blacklist_categories=('Cs', 'Cc')), min_size=1, max_size=200)
_VALUES = st.recursive(_TEXTS | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, metadata):
    path = tmp_path_factory.getbasetemp() / 'metafile_round_trip.yml'
    given = content(Untrained=[entry('x', Metadata=metadata)])
    write_metafile(path, given)
    assert read_metafile(path) == given


def test_order_and_empty_lists(file):
    write_metafile(file, {'Untrained': [], 'Library': {'Name': 'x'}, 'Models': [], 'Collections': []})
    assert file.read_text() == 'Collections: []\nModels: []\nLibrary:\n  Name: x\n'
    assert read_metafile(file)['Untrained'] == []


def test_an_entry_is_moved_once():
    first = replace_entry(content(), TRAINED)
    assert [row['Name'] for row in first['Models']] == ['tiny']
    assert [row['Name'] for row in first['Untrained']] == ['large']
    assert content()['Models'] == []
    second = replace_entry(replace_entry(first, entry('large')), {**TRAINED, 'Weights': 'new'})
    assert [row['Name'] for row in second['Models']] == ['tiny', 'large']
    assert second['Models'][0]['Weights'] == 'new'
    assert second['Untrained'] == []


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('a: [', 'cannot be read as YAML'),
        ('- a', 'must have the lists Collections, Models, Untrained, but is a list'),
        ('', 'but is a NoneType'),
        ('Collections: []\n', "'Models' must be a list"),
        ('Collections: []\nModels:\n', "'Models' must be a list"),
        ('Collections: [a]\nModels: []\n', "'Collections' must be a list .* of entries that have a 'Name'"),
        ('Collections: []\nModels: [{Config: x}]\n', "'Models' must be a list .* of entries that have a 'Name'"),
        ('Collections: []\nModels: []\nUntrained: {}\n', "'Untrained' must be a list"),
    ],
)
def test_no_metafile(file, text, sentence):
    file.write_text(text)
    with pytest.raises(ValueError, match=f'metafile.yml.*{sentence}'):
        read_metafile(file)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'metafile\.yml is not there: write it'):
        read_metafile(tmp_path / 'metafile.yml')
    with pytest.raises(FileNotFoundError, match=r'no .*model-index\.yml: start from the root of a checkout'):
        list_metafiles(tmp_path)
    for text in ('Import:\n', '[]', 'Other: []'):
        (tmp_path / 'model-index.yml').write_text(text)
        with pytest.raises(ValueError, match=r"model-index\.yml must have a list 'Import'"):
            list_metafiles(tmp_path)


class TestReaders:
    """mmengine looks into `.mim/` of a package, or into the checkout."""

    @pytest.fixture
    def package(self, root, tmp_path, monkeypatch):
        """A package with one trained and one untrained entry."""
        mim = tmp_path / '.mim'
        mim.symlink_to(make_root(tmp_path / 'tree'))
        write_metafile(mim / METAFILE, replace_entry(content(), TRAINED))
        monkeypatch.setattr(BaseInferencer, '_get_repo_or_mim_dir', staticmethod(lambda scope: str(mim)))
        return tmp_path

    def test_get_config(self, package):
        assert _get_cfg_metainfo(str(package), 'small/tiny.py')['Weights'] == TRAINED['Weights']
        # Then mmengine looks into configs/.
        with pytest.raises(ValueError, match='Expected configs'):
            _get_cfg_metainfo(str(package), 'small/large.py')

    def test_inferencer(self, package):
        assert DetInferencer.list_models('mmdet_ext') == ['tiny']
        load = BaseInferencer._load_model_from_metafile
        inferencer = DetInferencer.__new__(DetInferencer)
        inferencer.scope = 'mmdet_ext'
        assert load(inferencer, 'tiny')[1] == TRAINED['Weights']
        with pytest.raises(ValueError, match='Cannot find model: large in mmdet_ext'):
            load(inferencer, 'large')

    def test_a_zoo_without_any_trained_model(self, package):
        write_metafile(package / '.mim' / METAFILE, content())
        assert DetInferencer.list_models('mmdet_ext') == []
        with pytest.raises(ValueError, match='Expected configs'):
            _get_cfg_metainfo(str(package), 'small/tiny.py')


def test_yaml_of_others_is_plain(root):
    assert set(yaml.safe_load((root / METAFILE).read_text())) == {'Collections', 'Models', 'Untrained'}
