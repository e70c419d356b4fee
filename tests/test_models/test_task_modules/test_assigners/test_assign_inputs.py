"""What an assigner refuses, and how it says so."""

import math

import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from mmdet_ext.models.task_modules.assigners.assign_inputs import AssignInputs

from .assigner_case import instances

BOX = [0.0, 0, 4, 4]
BAD = [[4, 0, 0, 4], [0, 4, 4, 0], [math.nan, 0, 4, 4], [0, 0, 4, math.inf], [-math.inf, 0, 4, 4], [0, 0, 1e30, 4]]


def read(priors=(BOX,), gts=(BOX,), labels=None, regions=None, per_level=False, with_predictions=False, **fields):
    gts = instances(list(gts), range(len(gts)) if labels is None else labels)
    ignored = None if regions is None else instances(list(regions), [0] * len(regions))
    pred = instances(list(priors), **fields)
    return AssignInputs.read(pred, gts, ignored, per_level, with_predictions, None)


def say(inputs):
    assert bool(inputs.bad)
    with pytest.raises(ValueError, match='YOLOAssigner') as caught:
        inputs.raise_if(True)
    return str(caught.value)


def test_good_input():
    inputs = read([BOX, [1, 1, 1, 1]], regions=[BOX], level_ids=torch.tensor([0, 255]), per_level=True)
    assert not bool(inputs.bad)
    assert inputs.raise_if(False) is None
    assert (inputs.priors.shape, inputs.gts.shape, inputs.regions.shape) == ((2, 4), (1, 4), (1, 4))
    assert inputs.levels.tolist() == inputs.safe_levels.tolist() == [0, 255]
    assert inputs.predictions is None
    assert read().levels is read().safe_levels is None


def test_nothing_at_all_is_good():
    assert not bool(read([], [], per_level=True, level_ids=torch.zeros(0, dtype=torch.int64)).bad)


def test_no_labels_are_integers():
    gts = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.tensor([]))
    inputs = AssignInputs.read(instances([BOX]), gts, None, False, False, None)
    assert inputs.labels.dtype == torch.int64
    assert not bool(inputs.bad)


def test_box_types_and_half_precision():
    gts = InstanceData(bboxes=HorizontalBoxes(torch.tensor([BOX])), labels=torch.tensor([1]))
    inputs = AssignInputs.read(instances(torch.tensor([BOX]).half()), gts, None, False, False, None)
    assert inputs.gts.tolist() == inputs.priors.tolist() == [BOX]
    assert inputs.priors.dtype == inputs.gts.dtype == torch.float32


@pytest.mark.parametrize('box', BAD)
@pytest.mark.parametrize(
    ('holder', 'name'), [('priors', 'prior 1'), ('gts', 'ground truth 1'), ('regions', 'ignored region 1')]
)
def test_improper_boxes(box, holder, name):
    message = say(read(**{holder: [BOX, box]}))
    assert message.startswith(f'YOLOAssigner: {name} is [')
    assert message.endswith('x2 >= x1 and y2 >= y1 (1 of 2 are wrong)')


def test_improper_predictions_are_of_no_size():
    bboxes = torch.tensor([BOX, *BAD])
    inputs = read([BOX] * 7, bboxes=bboxes, with_predictions=True)
    assert not bool(inputs.bad)
    assert inputs.predictions.tolist() == [BOX, *[[0.0] * 4] * 6]


def test_labels_and_levels_out_of_range():
    assert 'labels go from -1 to 3; allowed are integers from 0 on' in say(read(gts=[BOX] * 2, labels=[3, -1]))
    inputs = read([BOX] * 3, level_ids=torch.tensor([0, 256, 2]), per_level=True)
    assert 'level_ids go from 0 to 256; allowed are integers from 0 to 255' in say(inputs)
    assert inputs.safe_levels.tolist() == [0, 255, 2]
    assert 'level_ids go from -1 to -1' in say(read(level_ids=torch.tensor([-1]), per_level=True))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(per_level=True), r"have no `level_ids`; best_scope='per_level' needs the level of each prior"),
        (dict(with_predictions=True), r"have no `bboxes`; ignore_from='pred' needs the decoded boxes"),
        (dict(per_level=True, level_ids=torch.tensor([0, 1])), r'`level_ids` are torch.int64 of shape \(2,\); 1 boxes'),
        (dict(per_level=True, level_ids=torch.tensor([0.0])), r'`level_ids` are torch.float32'),
        (dict(with_predictions=True, bboxes=torch.zeros(2, 4)), '2 `bboxes` for 1 `priors`'),
        (dict(with_predictions=True, bboxes=torch.zeros(1, 5)), r'`bboxes` of predictions has shape \(1, 5\)'),
        (dict(labels=[0, 1]), r'`labels` are torch.int64 of shape \(2,\); 1 boxes need integers of shape \(1,\)'),
    ],
)
def test_missing_or_misshapen(arguments, message):
    # InstanceData checks the lengths of what it holds.
    fields = {name: value for name, value in arguments.items() if isinstance(value, torch.Tensor)}
    rest = {name: value for name, value in arguments.items() if name not in fields and name != 'labels'}
    pred, gts = Loose(priors=torch.tensor([BOX]), **fields), Loose(bboxes=torch.tensor([BOX]), labels=torch.tensor([0]))
    if 'labels' in arguments:
        gts = Loose(bboxes=torch.tensor([BOX]), labels=torch.tensor(arguments['labels']))
    with pytest.raises(ValueError, match=message):
        AssignInputs.read(pred, gts, None, rest.get('per_level', False), rest.get('with_predictions', False), None)


class Loose(InstanceData):
    """Holds anything."""

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)
        if name not in ('_metainfo_fields', '_data_fields'):
            self._data_fields.add(name)


@pytest.mark.parametrize(('owner', 'name'), [('pred', 'priors'), ('gt', 'bboxes'), ('gt', 'labels')])
def test_without_what_every_assigner_needs(owner, name):
    pred, gts = instances([BOX]), instances([BOX], [0])
    delattr(pred if owner == 'pred' else gts, name)
    with pytest.raises(ValueError, match=f'have no `{name}`'):
        AssignInputs.read(pred, gts, None, False, False, None)


@pytest.mark.parametrize(
    ('metainfo', 'img_meta', 'name'),
    [
        ({}, None, 'prior 0 is'),
        ({}, dict(img_path='x/1.png', img_id=3), 'prior 0 of image x/1.png is'),
        ({}, dict(img_id=0), 'prior 0 of image 0 is'),
        (dict(img_path='y.png'), None, 'prior 0 of image y.png is'),
    ],
)
def test_the_image_is_named(metainfo, img_meta, name):
    gts = InstanceData(metainfo=metainfo, bboxes=torch.tensor([BOX]), labels=torch.tensor([0]))
    assert name in say(AssignInputs.read(instances([BAD[0]]), gts, None, False, False, img_meta))
