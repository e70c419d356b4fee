"""The command around category graphs."""

import json
import os
import pickle
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mmdet_ext.graphs import CategoryGraph
from tests.tiny_coco import data_config

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'category_graph.py')


@pytest.fixture
def annotations(tmp_path):
    names = ['a', 'b', 'c']
    shown = {1: [1, 2], 2: [1], 3: [2, 3], 4: []}
    coco = {
        'images': [{'id': k, 'file_name': f'{k}.png', 'width': 9, 'height': 9} for k in shown],
        'categories': [{'id': k + 1, 'name': name} for k, name in enumerate(names)],
        'annotations': [
            {'id': 10 * image + k, 'image_id': image, 'category_id': k, 'bbox': [0, 0, 3, 3], 'area': 9, 'iscrowd': 0}
            for image, classes in shown.items()
            for k in classes
        ],
    }
    coco['annotations'][-1]['iscrowd'] = 1
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(coco))
    return path


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives its exit code."""

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(TOOL, run_name='__main__')
        return done.value.code or 0

    return run


@pytest.fixture
def built(run, annotations, tmp_path):
    """Build with these options; gives the graph."""

    def build(*options):
        out = tmp_path / 'built' / 'g.catgraph.json'
        assert run('build', annotations, '-o', out, *options) == 0
        return CategoryGraph.load(out)

    return build


def test_build_writes_graph_and_picture(built, tmp_path, capsys):
    picture = tmp_path / 'g.png'
    graph = built('--norm', 'none', '--picture', picture)
    assert graph.counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert picture.stat().st_size > 1000
    assert '3 classes, 4 images' in capsys.readouterr().out
    assert graph.options == {}


def test_build_counts_as_told(built):
    graph = built('--include-crowd', '--exclude-empty', '--level', 'instance', '--classes', 'c', 'b')
    assert (graph.classes, graph.n_images, graph.level) == (('c', 'b'), 3, 'instance')
    assert graph.counts.tolist() == [[1, 1], [1, 2]]
    assert graph.options == {'exclude_crowd': False, 'include_empty': False}
    assert built('--exclude-crowd', '--include-empty').n_images == 4


def test_build_weighs_as_told(built):
    graph = built('--smooth', '0.5', '--self-loop', '2', '--background', 'zero', '--norm', 'cond')
    assert graph.directed
    assert graph.matrix[0].tolist() == [2, np.float32(1.5 / 3.5), np.float32(0.5 / 3.5), 0]
    assert built('--min-count', '2').matrix.tolist() == np.eye(4).tolist()


def test_build_drops_names_that_the_data_lack(built, run, annotations, tmp_path, capsys):
    with pytest.warns(UserWarning, match='`restrict` without x'):
        assert built('--restrict', 'a', 'x', '--restrict-missing', 'drop').restrict == ('a',)
    assert run('build', annotations, '-o', tmp_path / 'g.catgraph.json', '--restrict', 'a', 'x') == 2
    assert '`restrict` names classes that do not exist' in capsys.readouterr().err


def test_build_merges_restricts_and_drops(built):
    assert built('--merge', 'ab=a,b', '--restrict', 'ab', 'c').classes == ('ab', 'c')
    # A class that is named twice keeps both.
    merged = built('--merge', 'abc=a', 'abc=b,c')
    assert (merged.classes, merged.options['merge']) == (('abc',), {'abc': ['a', 'b', 'c']})
    dropped = built('--drop-if', 'b:a', 'b:c', '--include-crowd')
    assert dropped.options['drop_if'] == {'b': ['a', 'c']}
    assert dropped.counts.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (('--merge', 'ab'), "'ab' is not of the form new=old1,old2"),
        (('--merge', '=a'), "'=a' is not of the form"),
        (('--drop-if', 'nodule'), "'nodule' is not of the form class:present1,present2"),
        (('--drop-if', 'a:'), "'a:' is not of the form"),
        (('--include-crowd', '--exclude-crowd'), 'not allowed with'),
    ],
)
def test_malformed_options_are_refused(run, annotations, tmp_path, capsys, arguments, sentence):
    assert run('build', annotations, '-o', tmp_path / 'g.npz', *arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / 'g.npz').exists()


def test_check(run, built, tmp_path, capsys):
    built()
    path, config = tmp_path / 'built' / 'g.catgraph.json', tmp_path / 'data.py'
    assert run('check', path, '--classes', 'a', 'b', 'c') == 0
    config.write_text(data_config({'ann': 'x.json', 'images': 'x'}, classes=('a', 'c', 'b')))
    capsys.readouterr()
    assert run('check', path, '--config', config) == 1
    assert 'error: the category graph does not fit the data set: only the order differs' in capsys.readouterr().out
    assert run('check', path) == 2


def test_import(run, tmp_path, capsys):
    matrix = np.array([[0, 0, 0], [0, 1, 0.5], [0, 0.5, 1]])
    old, out, config = tmp_path / 'old.pkl', tmp_path / 'new.catgraph.json', tmp_path / 'data.py'
    old.write_bytes(pickle.dumps(matrix, protocol=2))
    config.write_text(data_config({'ann': 'x.json', 'images': 'x'}, classes=('p', 'q')))
    assert run('import', old, '--classes-from', config, '--background-first', '-o', out) == 0
    graph = CategoryGraph.load(out)
    assert graph.classes == ('p', 'q')
    assert graph.matrix.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]
    np.save(tmp_path / 'old.npy', matrix[1:, 1:])
    assert run('import', tmp_path / 'old.npy', '--classes', 'p', 'q', '--no-background', '-o', out) == 0
    assert CategoryGraph.load(out).matrix.tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]
    assert run('import', old, '--classes', 'p', 'q', '--background-last', '-o', out) == 0
    assert CategoryGraph.load(out).matrix.tolist() == matrix.tolist()


def test_import_refuses(monkeypatch, tmp_path, capsys):
    old, out = tmp_path / 'old.pkl', tmp_path / 'new.npz'
    monkeypatch.setattr(sys, 'argv', [TOOL, 'import', str(old), '--classes', 'p', 'q', '-o', str(out)])
    for content, sentence in (
        (os.system, r'wants to call (posix|nt)\.system'),
        (np.eye(3), 'say where the background'),
    ):
        old.write_bytes(pickle.dumps(content))
        with pytest.raises(SystemExit) as done:
            runpy.run_path(TOOL, run_name='__main__')
        assert done.value.code == 2
        assert re.search(f'^error: .*{sentence}', capsys.readouterr().err)
    assert not out.exists()


def test_show(run, built, tmp_path, capsys):
    built('--include-crowd')
    capsys.readouterr()
    picture = tmp_path / 'shown.png'
    assert run('show', tmp_path / 'built' / 'g.catgraph.json', '--top', '1', '--picture', picture) == 0
    out = capsys.readouterr().out
    assert 'seen together' in out
    assert '0.707' in out  # one edge of the two
    assert out.count('0.707') == 1
    assert picture.stat().st_size > 1000


def test_diff(run, built, tmp_path, capsys):
    graph = built()
    path = tmp_path / 'built' / 'g.catgraph.json'
    assert run('diff', path, path) == 0
    other = graph.randomized(0)
    other.matrix[0, 1] = other.matrix[1, 0] = 0.3
    assert run('diff', path, other.save(tmp_path / 'other.npz'), '--top', '1') == 1
    assert 'weights differ' in capsys.readouterr().out


def test_random(run, built, tmp_path, capsys):
    graph = built('--include-crowd', '--restrict', 'a', 'b', 'c', '--smooth', '0.1')
    path, out, picture = tmp_path / 'built' / 'g.catgraph.json', tmp_path / 'r.npz', tmp_path / 'r.png'
    assert run('random', '--like', path, '--seed', '4', '-o', out, '--picture', picture) == 0
    np.testing.assert_array_equal(CategoryGraph.load(out).matrix, graph.randomized(4).matrix)
    assert picture.exists()
    capsys.readouterr()
    assert run('random', '--like', path, '--seed', '4') == 0
    assert 'row sums' in capsys.readouterr().out
