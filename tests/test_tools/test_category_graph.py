"""The command that builds category graphs."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.graphs import CategoryGraph

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'category_graph.py')


@pytest.fixture
def annotations(tmp_path):
    names = ['a', 'b', 'c']
    shown = {1: [1, 2], 2: [1], 3: [2, 3]}
    coco = {
        'images': [{'id': k, 'file_name': f'{k}.png', 'width': 9, 'height': 9} for k in shown],
        'categories': [{'id': k + 1, 'name': name} for k, name in enumerate(names)],
        'annotations': [
            {'id': 10 * image + k, 'image_id': image, 'category_id': k, 'bbox': [0, 0, 3, 3], 'area': 9, 'iscrowd': 0}
            for image, classes in shown.items()
            for k in classes
        ],
    }
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(coco))
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
    runpy.run_path(TOOL, run_name='__main__')


def test_build_writes_graph_and_picture(annotations, tmp_path, monkeypatch, capsys):
    out, picture = tmp_path / 'g.catgraph.json', tmp_path / 'g.png'
    run(monkeypatch, 'build', annotations, '-o', out, '--norm', 'none', '--picture', picture)
    graph = CategoryGraph.load(out)
    assert graph.counts[0, 1] == 1
    assert graph.counts[1, 1] == 2
    assert picture.stat().st_size > 1000
    assert '3 classes, 3 images' in capsys.readouterr().out


def test_build_merges_and_restricts(annotations, tmp_path, monkeypatch):
    out = tmp_path / 'g.catgraph.json'
    run(monkeypatch, 'build', annotations, '-o', out, '--merge', 'ab=a,b', '--restrict', 'ab', 'c')
    assert CategoryGraph.load(out).classes == ('ab', 'c')


def test_a_malformed_merge_is_refused(annotations, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, 'build', annotations, '-o', tmp_path / 'g.npz', '--merge', 'ab')
    assert 'new=old1,old2' in capsys.readouterr().err
