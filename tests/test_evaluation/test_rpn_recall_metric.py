"""The metric of proposals in data samples."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmdet.registry import METRICS
from mmdet.structures.bbox import HorizontalBoxes

from mmdet_ext.evaluation import RPNRecallMetric
from mmdet_ext.evaluation.proposal_recall import ProposalRecall
from tests.test_evaluation.detection_case import random_images


def sample(one, field='rpn_proposals', kind=torch.float32):
    def instances(boxes, **more):
        return {'bboxes': torch.from_numpy(boxes).to(kind), **more}

    found = one.detections
    return {
        'img_id': 3,
        'gt_instances': instances(one.truth.boxes, labels=torch.from_numpy(one.truth.labels)),
        'ignored_instances': instances(one.ignored),
        field: instances(found.boxes, scores=torch.from_numpy(found.scores).to(kind)),
    }


def evaluate(metric, samples):
    for start in range(0, len(samples), 2):
        metric.process({}, samples[start : start + 2])
    return metric.evaluate(len(samples))


@pytest.fixture(scope='module')
def images():
    return random_images(0, 11)


@pytest.fixture(scope='module')
def table(images):
    gathered = ProposalRecall()
    for one in images:
        gathered.add(one.truth.boxes, one.detections, one.ignored)
    return gathered.result()


def test_values_are_those_of_the_images(images, table):
    found = evaluate(METRICS.build(dict(type='RPNRecallMetric')), [sample(one) for one in images])
    expected = {f'rpn/AR@{count}': table.at(count) for count in (10, 30, 100, 300, 1000)}
    expected |= {f'rpn/recall_50@{count}': table.at(count, 0.5) for count in (10, 30, 100, 300, 1000)}
    expected |= {f'rpn/AR_{size}': table.at(1000, size=size) for size in ('small', 'medium', 'large')}
    expected |= {'rpn/mAP': table.ap, 'rpn/mAP_50': table.ap_50, 'rpn/proposals': table.proposals}
    assert found == pytest.approx(expected)
    assert 0 < found['rpn/mAP'] < found['rpn/mAP_50'] < 1


def test_the_padding_of_the_last_batch_is_dropped(images, table):
    """Several ranks repeat images to get equal batches; one result for each image lets mmengine cut them."""
    metric = RPNRecallMetric()
    metric.process({}, [sample(one) for one in images])
    assert len(metric.results) == len(images)
    metric.process({}, [sample(images[0])])
    assert metric.evaluate(len(images))['rpn/AR@10'] == pytest.approx(table.at(10))


def _rank(rank, address, folder, samples):
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    own = [samples[k % len(samples)] for k in range(rank, len(samples) + 1, 2)]
    metric = RPNRecallMetric(collect_device='cpu', collect_dir=f'{folder}/parts')
    metric.process({}, own)
    values = metric.evaluate(len(samples))
    if rank == 1:
        torch.save(values, f'{folder}/values.pth')
    dist.destroy_process_group()


def test_two_ranks(images, table, tmp_path):
    """Eleven images, of which the second rank gets the first one again; every rank has the values."""
    samples = [sample(one) for one in images]
    arguments = (f'file://{tmp_path}/meet', str(tmp_path), samples)
    torch.multiprocessing.start_processes(_rank, arguments, nprocs=2, start_method='fork')
    found = torch.load(tmp_path / 'values.pth')
    assert found['rpn/AR@1000'] == pytest.approx(table.at(1000))
    assert found['rpn/mAP'] == pytest.approx(table.ap)
    assert found['rpn/proposals'] == pytest.approx(table.proposals)


def test_other_field_counts_and_thresholds(images):
    metric = RPNRecallMetric(counts=[3], iou_thrs=[0.7], proposals='pred_instances', prefix='first')
    found = evaluate(metric, [sample(one, 'pred_instances') for one in images])
    assert set(found) == {f'first/{name}' for name in ('AR@3', 'AR_small', 'AR_medium', 'AR_large', 'mAP', 'mAP_50',
                                                       'proposals')}  # fmt: skip
    assert found['first/mAP_50'] == -1


def test_box_types_and_half_precision(images, table):
    """All coordinates and scores of the case are exact in half precision."""
    rows = [sample(one, kind=torch.float16) for one in images]
    for row in rows:
        row['gt_instances']['bboxes'] = HorizontalBoxes(row['gt_instances']['bboxes'].float())
    assert evaluate(RPNRecallMetric(), rows)['rpn/mAP'] == pytest.approx(table.ap, abs=1e-9)
    rows = [sample(one, kind=torch.bfloat16) for one in images]
    assert np.isfinite(list(evaluate(RPNRecallMetric(), rows).values())).all()


def test_nothing_to_find():
    empty = {'img_id': 1, 'gt_instances': {'bboxes': torch.zeros(0, 4)},
             'rpn_proposals': {'bboxes': torch.zeros(0, 4), 'scores': torch.zeros(0)}}  # fmt: skip
    found = evaluate(RPNRecallMetric(), [empty])
    assert found.pop('rpn/proposals') == 0
    assert set(found.values()) == {-1}


@pytest.mark.parametrize(
    ('name', 'fix'), [('rpn_proposals', 'ProposalRecordHook'), ('gt_instances', 'after the resize')]
)
def test_something_is_missing(images, name, fix):
    one = sample(images[0])
    del one[name]
    with pytest.raises(KeyError, match=f'image 3 comes without {name}.*{fix}'):
        RPNRecallMetric().process({}, [one])


def test_bad_options():
    with pytest.raises(ValueError, match='RPNRecallMetric: counts must be'):
        RPNRecallMetric(counts=[0])
    with pytest.raises(ValueError, match='RPNRecallMetric: iou_thrs must be'):
        RPNRecallMetric(iou_thrs=[2.0])
