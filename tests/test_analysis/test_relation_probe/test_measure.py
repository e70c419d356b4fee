"""AP and score changes under interventions."""

import math
from contextlib import nullcontext

import pytest
import torch

from mmdet_ext.analysis.relation_probe import measure as probe
from mmdet_ext.analysis.relation_probe.detector import build_evaluator, quiet
from mmdet_ext.analysis.relation_probe.interventions import Intervention, find_interventions
from tests.test_analysis.test_relation_probe import probe_case


def tally(metrics=(), change=0.0, renamed=0, rois=0):
    return probe._Tally([], change, renamed, rois, dict(metrics))


def test_the_detector_as_it_is_has_the_metrics_of_a_test():
    detector = probe_case.detector()
    nothing = Intervention('x', 'nothing', '', nullcontext)
    plain, same = probe.measure(detector, [nothing])
    evaluator = build_evaluator(detector.cfg.test_evaluator, detector.whole.metainfo)
    with quiet():
        for data in detector.loader:
            with torch.no_grad():
                evaluator.process(detector.model.test_step(data), data)
        metrics = evaluator.evaluate(3)
    assert plain.metrics == {name: pytest.approx(value, nan_ok=True) for name, value in metrics.items()}
    assert plain.ap == metrics['coco/bbox_mAP']
    assert (plain.score_change, plain.renamed, plain.runs) == (0, 0, 1)
    assert (same.ap, same.score_change, same.renamed) == (plain.ap, 0, 0)
    assert set(plain.per_class) == set(detector.classes)


def test_a_disturbance_is_measured():
    detector = probe_case.detector()
    nodes = probe_case.nodes()
    means = probe.mean_features(detector, nodes, detector.predict)
    everything = next(each for each in find_interventions(nodes[:1], means, ()) if each.kind == 'removed (zero)')
    plain, removed = probe.measure(detector, [everything], progress=list)
    assert plain.score_change == 0
    assert removed.score_change > 0.01
    assert 0 < removed.renamed <= 1


def test_mean_features():
    detector, batch = probe_case.detector(), probe_case.batch()
    node = probe_case.node('3')
    seen = []
    handle = node.gate.register_forward_hook(lambda _, args, output: seen.append(output))
    means = probe.mean_features(detector, probe_case.nodes(), detector.predict)
    handle.remove()
    torch.testing.assert_close(means[node.name], torch.cat(seen).mean(0))
    assert means['RelationParallel'].shape == (probe_case.nodes()[0].relation.out_channels,)
    silent = probe.mean_features(detector, [node], lambda batch: None)
    assert (silent[node.name] == 0).all()
    assert batch.samples


def test_scores_are_compared_where_something_was_found():
    before = [torch.tensor([[0.6, 0.1, 0.3], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]])]
    after = [torch.tensor([[0.4, 0.5, 0.1], [0.9, 0.1, 0.0], [0.2, 0.6, 0.2]])]
    own = tally()
    own.add_scores(before, after)
    assert own.rois == 2
    assert own.renamed == 1
    assert own.change == pytest.approx(0.2 + 0.1)


def test_only_the_images_that_were_looked_at_count():
    class Metric:
        img_ids = None
        results = None

    class Evaluator:
        metrics = [Metric(), object.__new__(type('Other', (), {}))]

        def evaluate(self, size):
            return {'n': size, 'ids': len(self.metrics[0].img_ids), 'found': len(self.metrics[0].results)}

    assert probe.evaluate(Evaluator(), [[1], [2]], [7, 8]) == {'n': 2, 'ids': 2, 'found': 1}


def test_headline():
    assert (
        probe.find_headline({'a': 1, 'coco/segm_mAP': 1, 'coco/bbox_mAP_50': 1, 'coco/bbox_mAP': 1}) == 'coco/bbox_mAP'
    )
    assert probe.find_headline({'AP50': 1, 'pascal_voc/mAP': 1}) == 'pascal_voc/mAP'
    assert probe.find_headline({'loss': 1}) == 'loss'
    with pytest.raises(ValueError, match='it found no object at all'):
        probe.find_headline({})


def test_seeds_become_a_mean():
    interventions = [
        Intervention('', 'as it is', '', nullcontext),
        Intervention('g', 'random', 'why', nullcontext),
        Intervention('g', 'random', 'why', nullcontext),
    ]
    tallies = [
        tally({'mAP': 0.5, 'x/a_precision': 0.4, 'x/b_precision': math.nan, 'x/c_precision': -1}, 0, 0, 10),
        tally({'mAP': 0.4, 'x/a_precision': 0.2, 'x/b_precision': math.nan, 'x/c_precision': -1}, 2.0, 1, 10),
        tally({}, 1.0, 3, 10),
    ]
    plain, outcome = probe.summarize(interventions, tallies, 'mAP')
    assert plain.ap_std is None
    assert plain.per_class == {'a': 0.4, 'b': None, 'c': None}
    # Without any detection there are no figures: the AP is 0.
    assert outcome.ap == pytest.approx(0.2)
    assert outcome.ap_std == pytest.approx(0.4 / math.sqrt(2))
    assert outcome.score_change == pytest.approx(0.15)
    assert outcome.renamed == pytest.approx(0.2)
    assert outcome.runs == 2
    assert outcome.explanation == 'why'
    assert outcome.per_class['a'] == pytest.approx(0.1)
