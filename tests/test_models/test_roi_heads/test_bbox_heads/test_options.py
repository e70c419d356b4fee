"""Options of the relation box head that do not fit together, and the pool width that reaches every relation."""

import pytest

from ...relation_case import GEOMETRY, GRAPH
from .head_case import COUNT, FC, FUSED, NUM_CLASSES, build_head


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(fusion='sum'), r"fusion='sum', allowed are \('concat', 'add', 'gate'\)"),
        (dict(insert='first'), "insert='first', allowed are"),
        (dict(reg_source='both'), "reg_source='both', allowed are"),
        (dict(reg_source='base', base_head=False, relations=FUSED), "reg_source='base' .* set base_head=True"),
        (dict(insert='after_each_fc', num_shared_fcs=0), "insert='after_each_fc' needs num_shared_fcs >= 1"),
        (dict(num_cls_fcs=1, num_reg_convs=2), 'one shared trunk: num_cls_fcs, num_reg_convs must be 0'),
        (dict(with_reg=False), 'with_reg must be True'),
        (dict(with_cls=False), 'with_cls must be True'),
        (dict(num_shared_fcs=0), 'without extent: num_shared_fcs >= 1 or with_avg_pool=True'),
        (dict(num_shared_fcs=0, num_shared_convs=1), 'without extent: num_shared_fcs >= 1 or with_avg_pool=True'),
        (
            dict(external_scores=True),
            'external_scores=True takes class scores and pool from elsewhere; set base_head=False',
        ),
        (dict(fusion='add'), "fusion='add' needs equal widths"),
        (dict(relations=[]), 'relations is empty'),
        (dict(relations=[3]), r'relations\[0\] must be a dict'),
        (dict(relations=None), 'relations must be a dict or a list of them, got None'),
        (dict(base_loss_weight='1'), "base_loss_weight must be a number of at least 0, got '1'"),
        (dict(base_loss_weight=None), 'base_loss_weight must be a number of at least 0, got None'),
        (dict(bg_weight=-1), 'bg_weight must be a number of at least 0, got -1'),
        (dict(relation_dropout=1), 'relation_dropout must be a probability 0 <= p < 1, got 1'),
        (dict(frozen='shared_fcs'), "frozen must be a list of names of submodules, .* got 'shared_fcs'"),
        (dict(relations=COUNT, base_head=False), 'ObjectCountRelation needs cls_logits, .* base_head=True'),
        (
            dict(bg_weight=0.5, loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 4)),
            'bg_weight and loss_cls.class_weight exclude each other',
        ),
        (
            dict(bg_weight=0.5, loss_cls=dict(type='SeesawLoss', num_classes=NUM_CLASSES)),
            'bg_weight needs a loss_cls that takes class_weight',
        ),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_head(**options)


class TestPoolChannels:
    def test_reaches_the_relations_of_a_head(self):
        head = build_head([GRAPH], base_head=False, external_scores=True, pool_channels=9)
        assert head.relations[0].members[0].pool_channels == 9

    def test_is_the_width_of_the_features_behind_a_narrower_relation(self):
        sequence = dict(type='RelationSequence', relations=[dict(GEOMETRY, out_channels=4), GRAPH])
        assert build_head(sequence).relations[0].members[1].pool_channels == FC
