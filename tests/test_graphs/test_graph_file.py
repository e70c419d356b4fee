import json

import numpy as np
import pytest

from mmdet_ext.graphs import graph_file
from mmdet_ext.graphs.graph_file import read_graph, write_graph


def make_fields(**changes):
    fields = {
        'classes': ('nodule', '肺结核'),
        'matrix': np.array([[1, 0.1, 0], [0.1, 1, 0], [0, 0, 1]], dtype=np.float32),
        'counts': np.array([[4, 1], [1, 25]]),
        'kind': 'cooccurrence',
        'level': 'image',
        'norm': 'sqrt',
        'self_loop': 1.0,
        'restrict': None,
        'directed': False,
        'n_images': 30,
        'sources': [{'file': 'train.json', 'sha256': 'ab'}],
    }
    return {**fields, **changes}


def test_json_text(tmp_path):
    path = write_graph(tmp_path / 'new' / 'g.catgraph.json', make_fields())
    text = path.read_text(encoding='utf-8')
    assert '    [1.0, 0.1, 0.0],\n    [0.1, 1.0, 0.0],\n    [0.0, 0.0, 1.0]\n' in text
    assert '    "nodule",\n    "肺结核"\n' in text
    assert list(json.loads(text)) == [
        'format', 'version', 'classes', 'background', 'kind', 'level', 'norm', 'self_loop', 'restrict', 'directed',
        'n_images', 'sources', 'matrix', 'counts',
    ]  # fmt: skip
    assert json.loads(text)['format'] == 'catgraph'
    assert json.loads(text)['version'] == 1
    assert json.loads(text)['background'] == 'last'


@pytest.mark.parametrize('suffix', ['.catgraph.json', '.npz'])
def test_round_trip(tmp_path, suffix):
    fields = make_fields(restrict=('nodule',))
    read = read_graph(write_graph(tmp_path / f'g{suffix}', fields))
    for key in ('matrix', 'counts'):
        np.testing.assert_array_equal(read.pop(key), fields.pop(key))
    assert {**read, 'classes': tuple(read['classes']), 'restrict': tuple(read['restrict'])} == fields


@pytest.mark.parametrize('suffix', ['.catgraph.json', '.npz'])
def test_round_trip_without_sources(tmp_path, suffix):
    assert read_graph(write_graph(tmp_path / f'g{suffix}', make_fields(sources=[])))['sources'] == []


@pytest.mark.parametrize('suffix', ['.catgraph.json', '.npz'])
def test_build_options(tmp_path, suffix):
    options = {'drop_if': {'nodule': ['肺结核']}, 'smooth': 0.5}
    assert read_graph(write_graph(tmp_path / f'g{suffix}', make_fields(options=options)))['options'] == options
    # Files are as they were before where there are none.
    path = write_graph(tmp_path / f'without{suffix}', make_fields(options={}))
    assert 'options' not in read_graph(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_graph(tmp_path / 'g.json', make_fields())
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_graph(path, make_fields(kind=object()))
    with pytest.raises(ValueError, match='NaN or infinite values and was not written'):
        write_graph(path, make_fields(matrix=np.full((3, 3), np.nan)))
    monkeypatch.setattr(graph_file.Path, 'replace', lambda *_: (_ for _ in ()).throw(OSError('disk')))
    with pytest.raises(OSError, match='disk'):
        write_graph(path, make_fields(n_images=99))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ['g.json']


def test_missing_file_names_the_command(tmp_path):
    path = tmp_path / 'absent.catgraph.json'
    with pytest.raises(FileNotFoundError) as caught:
        read_graph(path)
    assert f'python tools/dataset_tools/category_graph.py build ANN -o {path}' in str(caught.value)


@pytest.mark.parametrize('call', [read_graph, lambda path: write_graph(path, make_fields())])
def test_other_suffix(call):
    with pytest.raises(ValueError, match=r'ends with \.catgraph\.json or \.npz, got graph\.pkl'):
        call('graph.pkl')


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'format': 'other'}, "its `format` is not 'catgraph'"),
        ({'version': 2}, 'has version 2 of the category graph format; known is 1'),
        ({'norm': None, 'level': None}, 'lacks the fields level, norm'),
        ({'options': [1]}, '`options` is not a table of build options'),
        ({'background': 'first'}, "puts the background 'first'"),
        ({'classes': 'ab'}, '`classes` is not a list of names'),
        ({'classes': ['a', 3]}, '`classes` is not a list of names'),
        ({'classes': ['a', 'a']}, 'more than once: a'),
        ({'classes': ['a', 'b', 'c']}, r'`matrix` has the shape \(3, 3\); 3 classes need \(4, 4\)'),
        ({'matrix': [[1, 0, 0], [0, 1], [0]]}, '`matrix` is not a table of numbers'),
        ({'counts': [[1]]}, r'`counts` has the shape \(1, 1\); 2 classes need \(2, 2\)'),
        ({'matrix': [[1, 0, 0], [0, float('nan'), 0], [0, 0, 1]]}, '`matrix` holds NaN or infinite'),
    ],
)
def test_bad_json(tmp_path, change, sentence):
    path = write_graph(tmp_path / 'g.catgraph.json', make_fields())
    document = {**json.loads(path.read_text(encoding='utf-8')), **change}
    path.write_text(
        json.dumps({key: value for key, value in document.items() if value is not None or key == 'restrict'})
    )
    with pytest.raises(ValueError, match=sentence) as caught:
        read_graph(path)
    assert str(path) in str(caught.value)


def test_not_a_graph_at_all(tmp_path):
    (tmp_path / 'text.json').write_bytes(b'\xff not json')
    with pytest.raises(ValueError, match=r'text\.json is not a JSON file'):
        read_graph(tmp_path / 'text.json')
    (tmp_path / 'list.json').write_text('[]')
    with pytest.raises(ValueError, match='is not a category graph'):
        read_graph(tmp_path / 'list.json')
    (tmp_path / 'text.npz').write_text('not a zip file')
    np.savez(tmp_path / 'other.npz', weights=np.ones(3))
    np.savez(tmp_path / 'pickled.npz', meta=np.array([{}], dtype=object), matrix=1, counts=1)
    for name in ('text', 'other', 'pickled'):
        with pytest.raises(ValueError, match=rf'{name}\.npz is not a category graph in npz form'):
            read_graph(tmp_path / f'{name}.npz')
