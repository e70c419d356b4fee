"""What the RoI heads gather for the relations: shapes, parts, part features, who is ground truth."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from torch.testing import assert_close

from mmdet_ext.models.relations import BaseRelation, RelationOutput
from mmdet_ext.models.roi_heads.relation_context import (
    RelationInputs,
    batch_parts,
    check_sampler,
    not_ground_truth,
    sample_rois,
    wants_parts,
    without_bfloat16,
)

from ..small_detector import small_config
from .roi_case import PART_BOXES, PART_NAMES, PARTS, Heads, add_parts
from .test_bbox_heads.head_case import FUSED, PLAIN, build_head

MAPS = (torch.zeros(2, 1, 16, 24), torch.zeros(2, 1, 8, 12))


@MODELS.register_module(force=True)
class _CellRelation(BaseRelation):
    """Would have cells pooled, but does without them."""

    part_splits = frozenset({(2, 1)})

    def __init__(self, in_channels):
        super().__init__(in_channels, in_channels)

    def forward(self, ctx):
        return RelationOutput(ctx.feats)


def samples(number=2, parts=True):
    found = [DetDataSample(metainfo=dict(img_shape=(60, 90 - i))) for i in range(number)]
    if parts:
        add_parts(found)
    return found


class TestParts:
    def test_boxes_that_are_not_there_are_not_read(self):
        parts = batch_parts(samples())
        assert parts.names == PART_NAMES
        assert parts.valid.tolist() == [[True] * 3, [True, True, False]]
        assert_close(parts.boxes, torch.tensor([PART_BOXES, [*PART_BOXES[:2], (0.0,) * 4]]))

    def test_the_samples_stay_as_they_are(self):
        given = samples()
        batch_parts(given)
        assert given[1].parts.bboxes[-1].isnan().all()

    def test_names_may_be_a_list(self):
        given = samples()
        given[0].set_metainfo(dict(part_names=list(PART_NAMES)))
        assert batch_parts(given).names == PART_NAMES

    def test_without_samples(self):
        with pytest.raises(ValueError, match='without data samples there are none; put LoadParts into the train and'):
            batch_parts(None)

    @pytest.mark.parametrize('missing', ['parts', 'part_names'])
    def test_an_image_without(self, missing):
        given = samples()
        delattr(given[1], missing)
        with pytest.raises(ValueError, match=r'image image_1.png has none; put LoadParts .* and PackPartInputs'):
            batch_parts(given)

    @pytest.mark.parametrize(('meta', 'name'), [(dict(img_id=7), '7'), ({}, 'without a path')])
    def test_an_image_without_a_path(self, meta, name):
        with pytest.raises(ValueError, match=f'image {name} has none'):
            batch_parts([DetDataSample(metainfo=meta)])

    def test_other_names(self):
        given = samples()
        given[1].set_metainfo(dict(part_names=PART_NAMES[::-1]))
        with pytest.raises(ValueError, match=r"image_1.png has the parts \('heart', .* image_0.png of the same batch"):
            batch_parts(given)


class TestInputs:
    def test_context(self):
        inputs = RelationInputs(MAPS, samples(), stride=4, with_parts=True)
        rois, valid = torch.zeros(5, 5), torch.ones(5).bool()
        ctx = inputs.context(rois, [3, 2], valid)
        assert ctx.rois is rois
        assert ctx.key_valid is valid
        assert ctx.feature_maps is MAPS
        assert ctx.counts == (3, 2)
        assert ctx.img_shapes.tolist() == [[60, 90], [60, 89]]
        assert ctx.parts.names == PART_NAMES
        assert ctx.cls_logits is ctx.cls_weight is None

    def test_without_samples_the_padded_input_is_the_image(self):
        inputs = RelationInputs(MAPS, None, stride=4, with_parts=False)
        assert inputs.context(torch.zeros(0, 5), (0, 0)).img_shapes.tolist() == [[64, 96]] * 2
        assert inputs.metas == [dict(img_shape=(64, 96))] * 2

    def test_parts_are_not_read_unless_wanted(self):
        inputs = RelationInputs(MAPS, samples(parts=False), stride=4, with_parts=False)
        assert inputs.parts is None
        assert inputs.part_feats({(1, 1)}, lambda rois: rois) == {}

    def test_part_rois(self):
        inputs = RelationInputs(MAPS, samples(), stride=4, with_parts=True)
        found = inputs.part_feats({(1, 1), (2, 3)}, lambda rois: rois)
        expected = {(1, 1): [], (2, 3): []}
        for i, boxes in enumerate(inputs.parts.boxes.tolist()):
            for x1, y1, x2, y2 in boxes:
                for rows, columns in expected:
                    w, h = (x2 - x1) / columns, (y2 - y1) / rows
                    expected[rows, columns] += [
                        [i, x1 + c * w, y1 + r * h, x1 + (c + 1) * w, y1 + (r + 1) * h]
                        for r in range(rows)
                        for c in range(columns)
                    ]
        assert_close(found, {split: torch.tensor(rows) for split, rows in expected.items()})

    def test_parts_are_pooled_once_per_source(self):
        inputs = RelationInputs(MAPS, samples(), stride=4, with_parts=True)
        calls = []

        def pool(rois):
            calls.append(len(rois))
            return rois

        first = inputs.part_feats([(1, 1)], pool, source=0)
        assert inputs.part_feats([(1, 1)], pool, source=0)[1, 1] is first[1, 1]
        inputs.part_feats([(1, 1), (2, 2)], pool, source=0)
        inputs.part_feats([(1, 1)], pool, source=1)
        assert calls == [6, 24, 6]

    @pytest.mark.gpu
    def test_nothing_waits_for_the_device(self):
        maps = tuple(level.cuda() for level in MAPS)
        given = [sample.to('cuda') for sample in samples()]
        rois = torch.zeros(5, 5, device='cuda')
        torch.cuda.set_sync_debug_mode('error')
        try:
            inputs = RelationInputs(maps, given, stride=4, with_parts=True)
            ctx = inputs.context(rois, (3, 2))
            cells = inputs.part_feats([(1, 1), (2, 2)], lambda rois: rois)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert ctx.img_shapes.tolist() == [[60, 90], [60, 89]]
        assert cells[2, 2].shape == (24, 5)


@pytest.mark.parametrize(
    ('relations', 'wanted'),
    [([PARTS[0]], True), ([PARTS[1]], True), ([dict(type='_CellRelation')], True), (FUSED, False)],
)
def test_wants_parts(relations, wanted):
    assert wants_parts(build_head(relations)) == wanted


def test_a_plain_head_wants_no_parts():
    assert not wants_parts(MODELS.build(PLAIN))


@pytest.mark.parametrize(
    'sampler',
    [
        dict(type='OHEMSampler', num=8, pos_fraction=0.25),
        dict(type='CombinedSampler', num=8, pos_fraction=0.25, pos_sampler=dict(type='RandomSampler'),
             neg_sampler=dict(type='OHEMSampler')),
    ],
)  # fmt: skip
def test_samplers_that_evaluate_single_rois(sampler):
    cfg = small_config()
    cfg.model.train_cfg.rcnn.sampler = sampler
    with pytest.raises(ValueError, match='RelationRoIHead: OHEMSampler mines RoIs by the loss each of them has alone'):
        MODELS.build(cfg.model)


def test_other_samplers():
    sampler = SimpleNamespace()
    sampler.pos_sampler = sampler.neg_sampler = sampler
    check_sampler(sampler, 'Head')


def test_sampling_and_flags_of_ground_truth():
    heads = Heads(small_config())
    gts = [sample.gt_instances for sample in heads.samples]
    proposals = heads.proposals(12, 0)
    results = sample_rois(heads.head.bbox_assigner, heads.head.bbox_sampler, proposals, gts, [None, None], heads.maps)
    flags = not_ground_truth(results)
    rois = torch.cat([result.priors for result in results])
    own = torch.cat([gts[0].bboxes, gts[1].bboxes])
    expected = [not bool((own == roi).all(1).any()) for roi in rois]
    assert flags.tolist() == expected
    assert flags.logical_not().sum() == 5
    assert len(results[1].priors) == 3


def test_flags_without_positives():
    heads = Heads(small_config())
    heads.drop_ground_truth(0, 1)
    gts = [sample.gt_instances for sample in heads.samples]
    results = sample_rois(
        heads.head.bbox_assigner, heads.head.bbox_sampler, heads.proposals(3, 2), gts, [None, None], heads.maps
    )
    assert not_ground_truth(results).tolist() == [True] * 5


def test_maps_for_roi_align():
    maps = tuple(torch.ones(1, 2, 3, 3, dtype=kind) for kind in (torch.bfloat16, torch.float16, torch.float32))
    wide = without_bfloat16(maps)
    assert [level.dtype for level in wide] == [torch.float32, torch.float16, torch.float32]
    assert wide[1] is maps[1]


def test_bfloat16_does_not_move_rois():
    """RoIs take the type of the maps: at 1000 px bfloat16 knows every fourth place alone."""
    heads = Heads(small_config())
    seen = []
    extractor = heads.head.bbox_roi_extractor
    extractor.register_forward_pre_hook(lambda _, args: seen.append((args[0][0].dtype, args[1])))
    maps = tuple(level.bfloat16() for level in heads.maps)
    heads.head.loss(maps, heads.proposals(4, 2), heads.samples)
    dtype, rois = seen[0]
    assert dtype is torch.float32
    assert not torch.equal(rois, rois.bfloat16().float())
