"""Mean, spread and difference of prepared runs, and what is refused or noted."""

import math
from pathlib import Path

import pytest

from mmdet_ext.analysis.ablation.grid import Arm, Grid
from mmdet_ext.analysis.ablation.plan import Run
from mmdet_ext.analysis.ablation.results import collect_results
from tests.test_analysis.test_ablation.ablation_case import VERSIONS, finish


@pytest.fixture
def make(tmp_path):
    """A grid of two arms and three seeds, and its runs, none of them finished."""

    def call(**fields):
        arms = (Arm('plain', 'p.py'), Arm('gate', 'p.py', {'a': 1}))
        grid = Grid(Path('g.yml'), arms, (0, 1, 2), tmp_path, 'plain', **fields)
        cost = {'parameters': 5, 'flops': 7, 'flops_note': 'one image', 'config': 'x'}
        runs = [
            Run(arm.name, seed, (place := tmp_path / arm.name / f'seed_{seed}'), place.with_suffix('.py'), {}, {}, cost)
            for seed in grid.seeds for arm in arms
        ]  # fmt: skip
        return grid, runs

    return call


def test_mean_deviation_difference_and_cost(make):
    grid, runs = make()
    for run in runs:
        finish(run, 0.1 * (run.seed + 1) + (0.05 if run.arm == 'gate' else 0))
    result = collect_results(grid, runs)
    assert result['metrics'] == ['coco/bbox_mAP', 'coco/bbox_mAP_50']
    plain, gate = (result['arms'][name]['metrics']['coco/bbox_mAP'] for name in ('plain', 'gate'))
    assert plain['mean'] == pytest.approx(0.2)
    assert plain['std'] == pytest.approx(math.sqrt((0.01 + 0 + 0.01) / 2))
    assert plain['difference'] is None
    assert gate['difference'] == pytest.approx(0.05)
    assert gate['values'] == pytest.approx({0: 0.15, 1: 0.25, 2: 0.35})
    row = result['arms']['gate']
    assert (row['parameters'], row['flops'], row['seeds'], row['options']) == (5, 7, [0, 1, 2], {'a': 1})
    assert (row['step_seconds'], row['peak_memory_mb']) == (pytest.approx(0.2), 402)
    assert result['missing'] == result['notes'] == []
    assert result['runs'][0]['command'] == 'python tools/train.py'
    assert {'command', 'commit', 'versions'} <= set(result)


def test_nothing_is_finished(make):
    result = collect_results(*make())
    assert result['metrics'] == []
    assert [gap['reason'] for gap in result['missing']] == ['not started'] * 6
    row = result['arms']['plain']
    assert (row['seeds'], row['step_seconds'], row['peak_memory_mb'], row['parameters']) == ([], None, None, 5)


def test_gaps_are_named_and_means_are_of_what_is_there(make):
    grid, runs = make(metrics=('coco/bbox_mAP', 'coco/bbox_map_50'))
    finish(runs[1], 0.5)
    finish(runs[3], 0.7, metrics={'coco/bbox_mAP_50': 0.9}, step_seconds=None)
    result = collect_results(grid, runs)
    assert result['arms']['plain']['metrics']['coco/bbox_mAP'] is None
    gate = result['arms']['gate']
    spread = {'mean': 0.5, 'std': None, 'values': {0: 0.5}, 'difference': None}
    assert gate['metrics'] == {'coco/bbox_mAP': spread, 'coco/bbox_map_50': None}
    assert (gate['seeds'], gate['step_seconds']) == ([0, 1], 0.1)
    reasons = {(gap['arm'], gap['seed']): gap['reason'] for gap in result['missing']}
    assert reasons['gate', 0] == 'the evaluator gave no coco/bbox_map_50'
    assert reasons['gate', 1] == 'the evaluator gave no coco/bbox_mAP, coco/bbox_map_50'
    assert reasons['plain', 2] == 'not started'
    assert result['notes'] == ["No run has the metric 'coco/bbox_map_50'; the nearest is 'coco/bbox_mAP_50'."]


@pytest.mark.parametrize('name', ['mmdet', 'pycocotools'])
def test_other_metric_versions_are_refused(make, name):
    grid, runs = make()
    finish(runs[0], 0.5)
    finish(runs[3], 0.5, versions={**VERSIONS, name: '9.9'})
    sentence = rf"'plain/seed_0' and 'gate/seed_1' are evaluated by versions.*{name} is .* in one and 9\.9 in the other"
    with pytest.raises(ValueError, match=sentence):
        collect_results(grid, runs)


def test_another_torch_commit_or_machine_is_no_reason_to_refuse(make):
    grid, runs = make()
    finish(runs[0], 0.5)
    finish(runs[3], 0.5, versions={**VERSIONS, 'torch': '9.9'}, commit='def', threads=8)
    assert collect_results(grid, runs)['notes'] == [
        'The runs differ in commit (abc: plain/seed_0; def: gate/seed_1).',
        'The runs differ in threads (1: plain/seed_0; 8: gate/seed_1).',
    ]


def test_columns_of_means(make):
    grid, runs = make(metrics=('coco/bbox_mAP',), means={'both': ('coco/bbox_mAP', 'coco/bbox_mAP_50')})
    finish(runs[0], 0.2)
    finish(runs[1], 0.3)
    finish(runs[3], 0.3, metrics={'coco/bbox_mAP': 0.5})
    result = collect_results(grid, runs)
    assert result['metrics'] == ['coco/bbox_mAP', 'both']
    plain, gate = (result['arms'][name]['metrics']['both'] for name in ('plain', 'gate'))
    assert plain['values'] == {0: pytest.approx(0.3)}
    assert (gate['mean'], gate['difference']) == (pytest.approx(0.45), pytest.approx(0.15))
    assert {'arm': 'gate', 'seed': 1, 'reason': 'the evaluator gave no both'} in result['missing']
    assert result['notes'] == []


def test_a_mean_of_what_no_run_has(make):
    grid, runs = make(means={'both': ('coco/bbox_mAP', 'coco/bbox_map_50')})
    finish(runs[0], 0.2)
    result = collect_results(grid, runs)
    assert result['arms']['plain']['metrics']['both'] is None
    assert result['notes'] == ["No run has the metric 'coco/bbox_map_50'; the nearest is 'coco/bbox_mAP_50'."]
