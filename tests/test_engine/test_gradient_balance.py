"""Gradients of loss terms at the trunk, where they are known."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample

from mmdet_ext.engine.gradient_balance import balance, cosines, scalar_terms, short_name, trunk_gradient, watched_trunk


def test_terms_are_those_mmengine_adds_up():
    losses = {
        'loss_cls': torch.tensor([1.0, 3.0]),
        'loss_bbox': [torch.tensor(1.0), torch.tensor([2.0, 4.0])],
        's0.loss_cls': torch.tensor(7.0),
        'loss_none': [],
        'acc': torch.tensor(99.0),
    }
    found = scalar_terms(losses)
    assert {name: float(value) for name, value in found.items()} == {
        'loss_cls': 2, 'loss_bbox': 4, 's0.loss_cls': 7, 'loss_none': 0,
    }  # fmt: skip
    assert all(value.ndim == 0 for value in found.values())


@pytest.mark.parametrize(
    ('term', 'name'),
    [
        ('loss_rpn_cls', 'rpn_cls'),
        ('s0.loss_bbox', 's0.bbox'),
        ('loss', 'all'),
        ('d1.loss_iou', 'd1.iou'),
        ('seg_loss', 'seg'),
        ('cls_loss_aux', 'cls_aux'),
    ],
)
def test_short_names_do_not_name_losses(term, name):
    assert short_name(term) == name


def trunk():
    return [torch.tensor([[1.0, 2.0]], requires_grad=True), torch.tensor([3.0], requires_grad=True)]


def test_norms_and_cosines_in_closed_form():
    first, second = trunk()
    terms = {
        'a': (first * torch.tensor([3.0, 0.0])).sum(),
        'b': (first * torch.tensor([0.0, 4.0])).sum(),
        'both': second.sum() * 5 - first[0, 0] * 3,
        'alone': torch.tensor(2.0),
        'other': torch.ones((), requires_grad=True) * 2,
    }
    # Sum: (0, 4, 5).
    found = balance(terms, [first, second])
    length = math.sqrt(41)
    expected = {'a': (3, 0), 'b': (4, 4 / length), 'both': (math.sqrt(34), 25 / math.sqrt(34) / length)}
    for name, figures in expected.items():
        assert found[name] == pytest.approx(figures, abs=1e-6)
    for name in ('alone', 'other'):
        assert found[name][0] == 0
        assert math.isnan(found[name][1])
    assert first.grad is None
    # The graph is there for whoever trains.
    terms['a'].backward()
    assert first.grad.tolist() == [[3, 0]]


def test_gradient_in_one_row_and_pairs():
    maps = trunk()
    gradients = {
        name: trunk_gradient(term, maps)
        for name, term in {
            'a': maps[0].sum(),
            'b': -maps[0][0, 0] + maps[1].sum(),
            'c': maps[1].sum() * 2,
            'zero': maps[0].sum() * 0,
        }.items()
    }
    assert gradients['a'].tolist() == [1, 1, 0]
    assert gradients['c'].tolist() == [0, 0, 2]
    found = cosines(gradients)
    assert found == pytest.approx({('a', 'b'): -0.5, ('a', 'c'): 0, ('b', 'c'): math.sqrt(0.5)}, abs=1e-6)


def test_a_loss_scale_saves_what_half_precision_loses():
    first = torch.ones(4, requires_grad=True)
    half = first.half()
    term = (half * 1e-5).float().sum() * 1e-4
    assert trunk_gradient(term, [half]).abs().max() == 0
    torch.testing.assert_close(trunk_gradient(term, [half], 65536.0), torch.full((4,), 1e-9), rtol=1e-2, atol=0)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_types_and_autocast(dtype):
    first = torch.ones(2, dtype=dtype, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        row = trunk_gradient((first * 3).sum(), [first])
    assert row.dtype == torch.float32
    assert row.tolist() == [3, 3]


def test_nothing_to_measure():
    maps = trunk()
    assert balance({}, maps) == balance({'a': maps[0].sum()}, []) == cosines({}) == {}


def test_the_trunk_is_what_extract_feat_gives():
    base = torch.ones(2, requires_grad=True)
    frozen = torch.ones(3)
    extract = lambda batch: (base * batch, [frozen], DetDataSample(), torch.arange(2))  # noqa: E731
    model = SimpleNamespace(extract_feat=extract)
    with watched_trunk(model) as maps:
        feats = model.extract_feat(2)
        with torch.no_grad():
            model.extract_feat(3)
    assert model.extract_feat is extract
    assert len(maps) == 2
    assert maps[0] is feats[0]
    # Below it nothing learns, but how hard a loss pulls can be measured.
    assert maps[1] is frozen
    assert frozen.requires_grad
    assert trunk_gradient((feats[1][0] * 2).sum(), maps).tolist() == [0, 0, 2, 2, 2]


def test_the_method_of_a_class_is_there_again():
    class Model:
        def extract_feat(self):
            return torch.ones(1)

    model = Model()
    with watched_trunk(model) as maps:
        model.extract_feat()
    assert len(maps) == 1
    assert 'extract_feat' not in vars(model)
