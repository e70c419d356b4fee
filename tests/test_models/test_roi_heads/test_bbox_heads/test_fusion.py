"""How relation features join box features."""

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.roi_heads.bbox_heads.fusion import RelationFusion

FEATS = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


def test_concat():
    fusion, relation = RelationFusion('concat', 4, 6), torch.randn(3, 6)
    assert fusion.out_channels == 10
    assert not list(fusion.parameters())
    assert_close(fusion(FEATS, relation), torch.cat([FEATS, relation], dim=1))
    assert fusion(FEATS, relation.double()).dtype == FEATS.dtype


@pytest.mark.parametrize(('kind', 'width'), [('add', 4), ('gate', 6)])
def test_starts_closed_and_can_open(kind, width):
    fusion, relation = RelationFusion(kind, 4, width), torch.randn(3, width, requires_grad=True)
    assert fusion.out_channels == 4
    assert_close(fusion(FEATS, relation), FEATS, rtol=0, atol=0)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=1.0)
    for _ in range(2):
        fusion(FEATS, relation).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(fusion(FEATS, relation), FEATS)
    assert relation.grad.any()


@pytest.mark.parametrize('kind', ['add', 'gate'])
def test_closed_by(kind):
    fusion, relation = RelationFusion(kind, 4, 4), torch.randn(3, 4)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    assert not torch.allclose(fusion(FEATS, relation), FEATS)
    for name in fusion.closed_by:
        torch.nn.init.zeros_(fusion.get_parameter(name))
    assert_close(fusion(FEATS, relation), FEATS, rtol=0, atol=0)


def test_formulas():
    relation = torch.randn(3, 4)
    add, gate = RelationFusion('add', 4, 4), RelationFusion('gate', 4, 4)
    for fusion in (add, gate):
        torch.nn.init.normal_(fusion.project.weight)
        torch.nn.init.normal_(fusion.project.bias)
    torch.nn.init.normal_(gate.gate)
    projected = relation @ add.project.weight.T + add.project.bias
    assert_close(add(FEATS, relation), FEATS + projected)
    projected = relation @ gate.project.weight.T + gate.project.bias
    assert_close(gate(FEATS, relation), FEATS + gate.gate * projected)


def test_add_wants_equal_widths():
    with pytest.raises(ValueError, match='box features have 4, the relations 6; set out_channels=4'):
        RelationFusion('add', 4, 6)


@pytest.mark.parametrize('kind', ['concat', 'add', 'gate'])
def test_dropout_of_relations_only_and_only_in_training(kind):
    feats, relation = torch.ones(500, 4), torch.ones(500, 4)
    fusion = RelationFusion(kind, 4, 4, dropout=0.25)
    if kind != 'concat':
        torch.nn.init.eye_(fusion.project.weight)
        torch.nn.init.zeros_(fusion.project.bias)
    if kind == 'gate':
        torch.nn.init.ones_(fusion.gate)
    torch.manual_seed(0)
    added = fusion(feats, relation)[:, 4:] if kind == 'concat' else fusion(feats, relation) - feats
    assert_close(added.unique(), torch.tensor([0.0, 4 / 3]))
    assert 0.2 < (added == 0).float().mean() < 0.3
    whole = fusion.eval()(feats, relation)
    assert_close(whole[:, 4:] if kind == 'concat' else whole - feats, relation)
