"""The demo from end to end, at the smallest size at which every step happens."""

import json
import os
import re
from html.parser import HTMLParser

import pytest

from mmdet_ext.analysis.demo.demo import format_table, run_demo, summarize_metrics
from mmdet_ext.datasets.chest_phantom import CLASSES, phantom_hash

# One process makes what the tests of this file share.
pytestmark = pytest.mark.xdist_group('demo')

TINY = {
    'train_dataloader.batch_size': 2,
    'train_dataloader.dataset.pipeline.2.scale': (64, 64),
    'val_dataloader.dataset.pipeline.1.scale': (64, 64),
    'test_dataloader.dataset.pipeline.1.scale': (64, 64),
}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """Folder of a finished demo, its results, what it said, and what a second call of the same said."""
    root = tmp_path_factory.mktemp('demo')
    first, second = [], []
    arguments = {'train': 4, 'val': 3, 'epochs': 1, 'cfg_options': TINY}
    before = os.environ.get('MMDET_EXT_CHEST_PHANTOM')
    results = run_demo(root / 'work', root / 'data', **arguments, say=first.append)
    again = run_demo(root / 'work', root / 'data', **arguments, say=second.append)
    assert os.environ.get('MMDET_EXT_CHEST_PHANTOM') == before
    return root, results, again, first, second


def test_files(finished):
    root, results, *_ = finished
    work = root / 'work'
    for key in ('baseline', 'relation'):
        for what in ('config', 'checkpoint', 'log'):
            assert (work / results[key][what]).is_file()
        assert (work / key / 'predictions.pkl').is_file()
        (curves,) = (work / key).glob('*/vis_data/scalars.json')
        assert 'loss_rpn_cls' in curves.read_text(), 'each training keeps its own curves'
    assert (work / 'category_graph.png').is_file()
    assert (work / 'category_graph.catgraph.json').is_file()
    assert 1 <= len(list((work / 'pictures').glob('*.jpg'))) <= 3


def test_results(finished):
    root, results, *_ = finished
    assert json.loads((root / 'work' / 'results.json').read_text()) == results
    assert results['phantom'] == phantom_hash(root / 'data')
    assert results['seed'] == 0
    assert results['images'] == {'train': 4, 'val': 3}
    assert {'mmdet_ext', 'mmengine', 'torch'} <= {name.removeprefix('onedl-') for name in results['versions']}
    for key in ('baseline', 'relation'):
        assert set(results[key]['per_class']) == set(CLASSES)
        assert results[key]['bbox_mAP'] <= results[key]['bbox_mAP_50']
        assert results[key]['seconds'] > 0
        assert 'randomness.seed=0' in results[key]['command']
    assert results['relation']['parameters'] > results['baseline']['parameters']


def test_page_is_self_contained(finished):
    root, results, *_ = finished
    text = (root / 'work' / 'report.html').read_text(encoding='utf-8')
    addresses = []

    class Addresses(HTMLParser):
        def handle_starttag(self, tag, attrs):
            addresses.extend(value for name, value in attrs if name in ('src', 'href'))

    Addresses().feed(text)
    assert len(addresses) == len(list((root / 'work' / 'pictures').iterdir())) + 1
    assert all(address.startswith('data:image/') for address in addresses)
    assert not re.search(r'@import|url\(', text)
    assert 'A shortened run.' in text
    assert results['phantom'][:16] in text


def test_console_tells_each_step_and_ends_with_the_table(finished):
    _, results, _, said, _ = finished
    assert [line[:3] for line in said if re.match(r'\d/5', line)] == ['1/5', '2/5', '3/5', '4/5', '5/5']
    assert format_table(results) in said[-3]
    assert 'report.html' in said[-2]
    assert not any('mmengine' in line for line in said)


def test_second_call_keeps_phantom_and_trainings(finished):
    *_, results, again, _, said = finished
    assert sum('trained before' in line for line in said) == 2
    assert any('there already' in line for line in said)
    assert again == results


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [({'train': 0}, 'at least 1, got 0 and 200'), ({'val': -1}, 'got 600 and -1'), ({'epochs': 0}, 'epochs must be')],
)
def test_bad_numbers(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_demo(tmp_path / 'work', tmp_path / 'data', **arguments)
    assert list(tmp_path.iterdir()) == []


def test_data_folder_of_something_else(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'patients.json').touch()
    with pytest.raises(ValueError, match='In the demo: --data FOLDER'):
        run_demo(tmp_path / 'work', tmp_path / 'data', train=1, val=1, epochs=1, say=lambda _: None)


def test_metrics_without_objects_are_none_and_do_not_count():
    metrics = {f'coco/{name}_precision': float('nan') for name in CLASSES}
    metrics |= {'coco/bbox_mAP': -1.0, 'coco/bbox_mAP_50': 0.5}
    empty = summarize_metrics(metrics)
    assert (empty['bbox_mAP'], empty['bbox_mAP_50'], empty['context_mAP']) == (None, 0.5, None)
    metrics |= {'coco/nodule_precision': 0.2, 'coco/tuberculosis_precision': 0.6, 'coco/mass_precision': 1.0}
    some = summarize_metrics(metrics)
    assert some['context_mAP'] == 0.4
    assert some['per_class']['mass'] == 1.0
    assert some['per_class']['cavity'] is None


def test_table_shows_differences_and_gaps():
    def run(nodule, seconds):
        per_class = dict.fromkeys(CLASSES, 0.5) | {'nodule': nodule, 'mass': None}
        return {'bbox_mAP': 0.5, 'bbox_mAP_50': 0.75, 'context_mAP': 0.5, 'per_class': per_class, 'seconds': seconds}

    table = format_table({'baseline': run(0.25, 180.4), 'relation': run(0.75, 200.0)})
    rows = [line.split() for line in table.splitlines()]
    assert ['nodule', '0.250', '0.750', '+0.500'] in rows
    assert ['mass', '–', '–'] in rows
    assert ['mAP_50', '0.750', '0.750', '+0.000'] in rows
    assert ['seconds', 'of', 'training', '180', '200'] in rows
