"""What the demo's page says about the numbers."""

import json

import pytest
from mmengine.config import Config

from mmdet_ext.analysis.demo import report as demo_report
from mmdet_ext.analysis.demo.report import CONTEXT_CLASSES, RULES, find_relations, give_verdict, write_demo_report
from mmdet_ext.analysis.naming import read_annotations
from mmdet_ext.datasets.chest_phantom import CLASSES, make_chest_phantom
from mmdet_ext.evaluation.objects import Objects


def test_the_six_classes_are_those_of_the_rules():
    assert len(CONTEXT_CLASSES) == len(RULES) == 6
    assert set(CLASSES) - set(CONTEXT_CLASSES) == {'cavity', 'fibrosis', 'mass', 'pleural effusion'}


@pytest.mark.parametrize(
    ('plain', 'ours', 'words'),
    [(0.3, 0.7, 'is ahead on'), (0.7, 0.3, 'is not ahead'), (0.5, 0.5, 'is not ahead'), (None, None, 'nothing can be')],
)
def test_verdict_says_what_the_numbers_say(plain, ours, words):
    assert words in give_verdict(plain, ours)


def test_relations_are_described_by_their_docstrings():
    def cfg(relations):
        return Config({'model': {'roi_head': {'bbox_head': {'relations': relations}}}})

    count = {'type': 'ObjectCountRelation', 'num_classes': 10}
    nested = find_relations(cfg([{'type': 'RelationParallel', 'relations': [count]}]))
    assert [name for name, _ in nested] == ['RelationParallel', 'ObjectCountRelation']
    assert find_relations(cfg(count))[0][1].startswith('Expected number of distinct objects')


def test_page_tells_naming_from_finding(tmp_path, monkeypatch):
    """The plain detector finds everything and calls it nodule; the other one is perfect."""
    info = make_chest_phantom(tmp_path / 'data', train=1, val=8, size=64, preview=False, progress=False)
    truth = read_annotations(tmp_path / 'data' / 'annotations' / 'val.json', CLASSES)
    nodules = {image: Objects(found.boxes, found.labels * 0, found.scores) for image, found in truth.items()}
    predictions = {'baseline': nodules, 'relation': truth}
    monkeypatch.setattr(demo_report, 'read_predictions', lambda file: predictions[file.parent.name])
    contexts = []
    write = demo_report.write_report
    monkeypatch.setattr(demo_report, 'write_report', lambda *args: contexts.append(args[2]) or write(*args))

    def run(value):
        per_class = dict.fromkeys(CLASSES, value)
        numbers = {'bbox_mAP': value, 'bbox_mAP_50': value, 'context_mAP': value, 'per_class': per_class}
        return (
            numbers
            | dict.fromkeys(('seconds', 'parameters'), 1)
            | dict.fromkeys(('config', 'checkpoint', 'command'), 'x')
        )

    results = {
        'baseline': run(0.25), 'relation': run(0.75), 'images': info['counts'], 'epochs': 1, 'seed': 0,
        'phantom_seed': 0, 'phantom': info['hash'], 'command': 'python tools/demo.py', 'versions': {'torch': '2'},
    }  # fmt: skip
    (tmp_path / 'category_graph.png').write_bytes(b'graph')
    cfg = Config({'model': {'roi_head': {'bbox_head': {}}}})
    report = write_demo_report(tmp_path, tmp_path / 'data', results, cfg, shortened=False)
    page = report.read_text(encoding='utf-8')
    assert 'A shortened run.' not in page
    assert '+0.500' in page
    assert json.dumps(contexts[0]['families']).count('not found') == 2
    for family in contexts[0]['families']:
        for index, (plain, ours) in enumerate(zip(family['plain'], family['ours'], strict=True)):
            total = sum(ours)
            assert ours[index] == total
            assert sum(plain) == total
            assert plain[-1] == 0
        named_nodule = [
            row[family['columns'].index('nodule') if 'nodule' in family['columns'] else 3] for row in family['plain']
        ]
        assert named_nodule == [sum(row) for row in family['plain']]
    objects = sum(len(found) for found in truth.values())
    assert contexts[0]['table'][-1][1][0]['objects'] == objects
    assert sum(rows[-1]['objects'] for _, rows in contexts[0]['table'][:2]) == objects
