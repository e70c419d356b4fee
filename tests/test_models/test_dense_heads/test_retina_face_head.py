"""A head with landmarks: the numbers of RetinaFace, and landmarks that stay with their boxes."""

import math
import re

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.dense_heads import RetinaFaceHead, SingleShotHead
from mmdet_ext.models.dense_heads.dense_maths import flatten_levels

from .dense_case import (
    CIOU,
    EMPTY,
    FACE,
    FOCAL,
    GTS,
    MAX_IOU,
    NUM_CLASSES,
    OHEM,
    SHAPE,
    SIZES,
    SOFTMAX,
    TEST_CFG,
    as_maps,
    assert_found,
    build,
    descend,
    face,
    features,
    images,
    loss_terms,
    predictions,
    retina_face,
    samples,
    total,
    unused,
)

BINARY = dict(type='CrossEntropyLoss', use_sigmoid=True)
LOSSES = {
    'ohem': {},
    'softmax': dict(loss_cls=SOFTMAX),
    'focal': dict(loss_cls=FOCAL, loss_landmark=dict(type='L1Loss', loss_weight=0.5)),
    'ohem_sigmoid': dict(loss_cls=dict(OHEM, loss=BINARY)),
    'ciou': dict(reg_decoded_bbox=True, loss_bbox=CIOU),
    'ghm': dict(loss_cls=dict(type='GHMCLoss', bins=10), loss_landmark=dict(type='GHMRLoss', bins=10)),
}
UNLABELLED = [dict(gts, keypoints=[face([0] * 4, [0] * 5)] * len(gts['labels'])) for gts in GTS]
# On the level of stride 16, of place (row 2, column 3) the second anchor.
CENTRE, SIDE = (56.0, 40.0), 36.0
BOX = [CENTRE[0] - SIDE / 2, CENTRE[1] - SIDE / 2, CENTRE[0] + SIDE / 2, CENTRE[1] + SIDE / 2]
ONE_EACH = dict(assigner=dict(type='YOLOAssigner', pos_iou_thr=1.1, neg_iou_thr=1.1))


def one_face(offsets, v=(2,) * 5):
    """A face that one anchor fits exactly; landmarks by their offsets from its centre in units of the coder."""
    unit = 0.1 * SIDE
    points = [[CENTRE[0] + unit * x, CENTRE[1] + unit * y, own] for (x, y), own in zip(offsets, v, strict=True)]
    return dict(bboxes=[BOX], labels=[1], keypoints=[points])


class TestClosedForm:
    OFFSETS = [(0.0, 0.5), (-0.2, 0), (2.0, 0), (0, -3.0), (0.1, 0.1)]
    # Smooth L1: d^2 / 2 below 1, |d| - 1/2 from there on.
    EACH = [0.125, 0.02, 1.5, 2.5, 0.01]

    def losses(self, gts, **changes):
        head = retina_face(train_cfg=ONE_EACH, **changes)
        return head.loss_by_feat(*predictions(head, len(gts), spread=0.0), **images(*gts))

    def test_one_face(self):
        losses = self.losses([one_face(self.OFFSETS)])
        assert losses['num_pos'] == losses['num_pos_landmarks'] == 1
        assert_close(losses['loss_landmark'], torch.tensor(sum(self.EACH)))
        assert losses['loss_bbox'] == 0
        # Every prior has log 4; one positive, seven negatives.
        assert_close(losses['loss_cls'], torch.tensor(8 * math.log(NUM_CLASSES + 1)))

    def test_weights_of_the_terms(self):
        """Classes, boxes and landmarks weigh 1 : 2 : 1, and boxes are coded by variances 0.1 and 0.2."""
        gts = one_face([(0.0, 0.0)] * 5)
        gts['bboxes'] = [[x + 0.1 * SIDE * 0.5 for x in BOX]]
        losses = self.losses([gts])
        assert_close(losses['loss_bbox'], torch.tensor(2 * 2 * 0.125))
        plain = self.losses([one_face(self.OFFSETS)])
        heavy = self.losses([one_face(self.OFFSETS)], loss_landmark=dict(type='SmoothL1Loss', loss_weight=3.0))
        assert_close(heavy['loss_landmark'], plain['loss_landmark'] * 3)

    @pytest.mark.parametrize('hidden', range(5))
    def test_points_that_are_not_labelled(self, hidden):
        v = [1 if k != hidden else 0 for k in range(5)]
        losses = self.losses([one_face(self.OFFSETS, v)])
        assert_close(losses['loss_landmark'], torch.tensor(sum(self.EACH) - self.EACH[hidden]))
        assert losses['num_pos_landmarks'] == 1

    def test_the_normaliser_counts_faces_with_landmarks(self):
        one, three = one_face(self.OFFSETS), [one_face(self.OFFSETS), UNLABELLED[1], EMPTY]
        losses = self.losses(three)
        assert (losses['num_pos'], losses['num_pos_landmarks']) == (2, 1)
        assert_close(losses['loss_landmark'], torch.tensor(sum(self.EACH)))
        losses = self.losses([one, one_face(self.OFFSETS, (2, 0, 0, 0, 0)), EMPTY])
        assert losses['num_pos_landmarks'] == 2
        assert_close(losses['loss_landmark'], torch.tensor((sum(self.EACH) + self.EACH[0]) / 2))

    def test_other_terms_do_not_know_of_landmarks(self):
        changes = dict(small_obj_weight='2-area', focal_on_bbox=True)
        plain = self.losses([one_face(self.OFFSETS)])
        losses = self.losses([one_face(self.OFFSETS)], **changes)
        assert_close(losses['loss_landmark'], plain['loss_landmark'])
        assert losses['loss_cls'] != plain['loss_cls']


class TestChannels:
    """Of the map of a level: anchor after anchor, of these landmark after landmark, x before y."""

    @pytest.mark.parametrize('anchor', [0, 1])
    def test_prediction(self, anchor):
        head = retina_face()
        scores, deltas, landmarks = ([x.detach() * 0 for x in level] for level in predictions(head, 1))
        for x in scores:
            x.view(-1, NUM_CLASSES + 1, *x.shape[2:])[:, -1] = 20
        scores[1][0, anchor * (NUM_CLASSES + 1) + 2, 2, 3] = 40
        landmarks[1][0, :, 2, 3] = torch.arange(20.0)
        (result,) = head.predict_by_feat(scores, deltas, landmarks, images(EMPTY)['batch_img_metas'])
        assert result.labels.tolist() == [2]
        unit = 0.1 * (24.0, 36.0)[anchor]
        start = 10 * anchor
        expected = [(CENTRE[0] + unit * (start + 2 * k), CENTRE[1] + unit * (start + 2 * k + 1)) for k in range(5)]
        assert_close(result.keypoints, torch.tensor([expected]))

    @pytest.mark.parametrize('k', range(5))
    def test_loss(self, k):
        head = retina_face(train_cfg=ONE_EACH)
        maps = predictions(head, 1)
        head.loss_by_feat(*maps, **images(one_face([(3.0, -3.0)] * 5, [2 * (own == k) for own in range(5)])))[
            'loss_landmark'
        ].backward()
        touched = [x.grad.nonzero().tolist() for x in maps[2]]
        assert touched == [[], [[0, 10 + 2 * k, 2, 3], [0, 11 + 2 * k, 2, 3]], []]
        # x is too small, y too big.
        assert maps[2][1].grad[0, 10 + 2 * k : 12 + 2 * k, 2, 3].sign().tolist() == [-1, 1]

    def test_descent_finds_the_truth(self):
        """Boxes, classes and every landmark that is labelled, each beside its box."""
        results = descend(retina_face(), steps=100)
        assert_found(results)
        for result, gts in zip(results, GTS, strict=True):
            result = result[result.scores > 0.5]
            for label, points in zip(gts['labels'], torch.tensor(gts['keypoints']), strict=True):
                labelled = points[:, 2] > 0
                found = result.keypoints[result.labels == label][0]
                assert (found - points[:, :2])[labelled].abs().le(0.5).all()


class TestLossTerms:
    @pytest.mark.parametrize('name', ['ohem', 'softmax', 'focal', 'ciou'])
    def test_classes_and_boxes_are_those_of_the_parent(self, name):
        changes = {key: value for key, value in LOSSES[name].items() if key != 'loss_landmark'}
        head = retina_face(**changes)
        scores, deltas, landmarks = predictions(head)
        losses = head.loss_by_feat(scores, deltas, landmarks, **images())
        parent = as_parent(head, **changes)
        expected = parent.loss_by_feat(scores, deltas, **images())
        assert losses.keys() - expected.keys() == {'loss_landmark', 'num_pos_landmarks'}
        assert_close({name: losses[name] for name in expected}, expected)
        assert loss_terms(losses).keys() == {'loss_cls', 'loss_bbox', 'loss_landmark'}

    @pytest.mark.parametrize('ratio', [3, 7])
    def test_negatives_are_mined_per_image(self, ratio):
        head = retina_face(**({} if ratio == 7 else dict(loss_cls=OHEM)))
        maps, inputs = predictions(head, 3, spread=2.0), images(*GTS, EMPTY)
        losses = head.loss_by_feat(*maps, **inputs)
        logits = flatten_levels(maps[0], NUM_CLASSES + 1)
        targets = head.match(SIZES, flatten_levels(maps[1], 4), **inputs)
        found = torch.tensor(0.0)
        for own, labels in zip(logits, targets.labels, strict=True):
            each = -own.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
            positive = labels != NUM_CLASSES
            negatives = ratio * int(positive.sum()) or 3
            found += each[positive].sum() + each[~positive].sort(descending=True).values[:negatives].sum()
        assert_close(losses['loss_cls'], found / losses['num_pos'])
        # As many as that would not be there for the batch as a whole.
        assert ratio * losses['num_pos'] < losses['num_neg']

    @pytest.mark.parametrize(
        'assigner',
        [
            dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
            dict(type='YOLOAssigner', pos_iou_thr=0.35, neg_iou_thr=0.35, min_best_iou=0.2),
            MAX_IOU,
            dict(type='ATSSAssigner', topk=9),
        ],
        ids=['yolo_50', 'yolo_35', 'max_iou', 'atss'],
    )
    def test_assigners(self, assigner):
        if assigner['type'] == 'ATSSAssigner':
            with pytest.raises(ValueError, match=r'RetinaFaceHead: ATSSAssigner\.assign takes'):
                retina_face(train_cfg=dict(assigner=assigner))
            return
        head = retina_face(train_cfg=dict(assigner=assigner))
        losses = head.loss_by_feat(*predictions(head), **images())
        assert losses['num_pos'] >= losses['num_pos_landmarks'] > 0
        many = retina_face().loss_by_feat(*predictions(head), **images())['num_pos']
        assert losses['num_pos'] == many if assigner.get('pos_iou_thr') == 0.35 else losses['num_pos'] < many

    def test_single_call(self, monkeypatch):
        head = retina_face()
        assert type(head).single_call_losses is True
        calls = []
        monkeypatch.setattr(head.loss_landmark, 'forward', lambda *args, **kwargs: calls.append(args) or args[0].sum())
        losses = head.loss_by_feat(*predictions(head), **images())
        assert [[tuple(x.shape) for x in args] for args in calls] == [[(int(losses['num_pos']), 10)] * 3]


class TestDifficultInput:
    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize(
        'gts', [[EMPTY, EMPTY], [GTS[0], EMPTY], UNLABELLED], ids=['all_empty', 'one_empty', 'no_landmarks']
    )
    def test_nothing_to_learn(self, name, gts):
        head = retina_face(**LOSSES[name])
        losses = head.loss(features(head), samples(*gts))
        assert all(value.isfinite() for value in losses.values())
        total(losses).backward()
        assert unused(head) == []
        assert all(value.grad.isfinite().all() for value in head.parameters())
        if gts[0] is not GTS[0]:
            assert losses['loss_landmark'] == losses['num_pos_landmarks'] == 0
            assert all(x.conv_landmark.weight.grad.abs().max() == 0 for x in head.predictors)

    def test_landmarks_without_weight(self):
        """Then the ground truth needs none, and the branch stays connected."""
        head = retina_face(loss_landmark=dict(type='SmoothL1Loss', loss_weight=0.0))
        plain = [{name: value for name, value in gts.items() if name != 'keypoints'} for gts in GTS]
        for gts in (plain, GTS, [EMPTY, EMPTY]):
            head.zero_grad()
            losses = head.loss(features(head), samples(*gts))
            assert losses['loss_landmark'] == 0
            total(losses).backward()
            assert unused(head) == []

    def test_landmarks_that_are_not_loaded(self):
        head = retina_face()
        plain = {name: value for name, value in GTS[1].items() if name != 'keypoints'}
        text = r'RetinaFaceHead: image image_1\.png has 1 boxes but no gt_instances\.keypoints: .*PackDetInputs'
        with pytest.raises(ValueError, match=text):
            head.loss(features(head), samples(GTS[0], plain))

    def test_bad_landmarks_name_their_image(self):
        head = retina_face()
        points = [face([0, 0, 9, 9])]
        points[0][3][1] = math.nan
        for wrong, text in (
            (points, 'has the landmark'),
            ([face([0, 0, 9, 9])[:4]], re.escape('Tensor (1, 4, 3), needed is a tensor (1, 5, 3)')),
        ):
            with pytest.raises(ValueError, match=rf'RetinaFaceHead: image image_1\.png .*{text}'):
                head.loss_by_feat(*predictions(head), **images(GTS[0], dict(GTS[1], keypoints=wrong)))

    @pytest.mark.parametrize('name', LOSSES)
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision(self, name, dtype):
        head = retina_face(**LOSSES[name])
        maps = predictions(head)
        exact = head.loss_by_feat(*maps, **images())
        half = [[x.detach().to(dtype).requires_grad_() for x in level] for level in maps]
        losses = retina_face(**LOSSES[name]).loss_by_feat(*half, **images())
        assert losses['loss_landmark'].dtype == torch.float32
        rough = name == 'ghm' and dtype is torch.bfloat16
        assert_close(losses['loss_landmark'], exact['loss_landmark'], rtol=0.5 if rough else 0.05, atol=0.01)
        total(losses).backward()
        assert all(x.grad.isfinite().all() for level in half for x in level)
        results = head.predict_by_feat(*half, batch_img_metas=images()['batch_img_metas'])
        assert len(results[0]) > 0
        assert results[0].keypoints.dtype == results[0].bboxes.dtype == torch.float32

    def test_autocast(self):
        head = retina_face()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = head.loss(features(head), samples())
            assert head(features(head))[2][0].dtype == torch.bfloat16
            results = head.predict(features(head), samples(), rescale=True)
        assert results[0].keypoints.dtype == torch.float32
        assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
        total(losses).backward()
        assert all(value.grad.isfinite().all() for value in head.parameters())

    def test_double_passes_through(self):
        head = retina_face()
        maps = [[x.detach().double().requires_grad_() for x in level] for level in predictions(head)]
        assert head.loss_by_feat(*maps, **images())['loss_landmark'].dtype == torch.float64
        # mmcv's NMS takes float32 only.
        results = head.predict_by_feat(*maps, metas_of_two(), with_nms=False)
        assert results[0].keypoints.dtype == results[0].bboxes.dtype == torch.float64


def as_parent(head, **changes):
    """A `SingleShotHead` with everything but the landmarks."""
    cfg = dict(FACE, type='SingleShotHead', share_levels=False, **changes)
    defaults = dict(
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(OHEM, neg_pos_ratio=7),
        loss_bbox=dict(type='SmoothL1Loss', loss_weight=2.0),
    )
    return build({**defaults, **cfg})


def corner_maps(head, number=2):
    """Predictions whose landmarks are the corners of the boxes, and the centre."""
    scores, deltas, _ = ([x.detach() for x in level] for level in predictions(head, number, spread=2.0))
    priors = torch.cat(head.prior_generator.grid_priors(SIZES, device='cpu'))
    rows = flatten_levels(deltas, 4)
    points = []
    for own in rows:
        x1, y1, x2, y2 = head.bbox_coder.decode(priors, own).unbind(1)
        corners = [x1, y1, x2, y1, (x1 + x2) / 2, (y1 + y2) / 2, x1, y2, x2, y2]
        points.append(head.landmark_coder.encode(priors, torch.stack(corners, 1).view(-1, 5, 2)))
    return scores, deltas, as_maps(torch.stack(points), SIZES, [2] * 3)


class TestPredict:
    @pytest.mark.parametrize('name', ['ohem', 'softmax', 'focal'])
    @pytest.mark.parametrize('with_nms', [True, False])
    @pytest.mark.parametrize('cfg', [{}, dict(nms_pre=20, min_bbox_size=9), dict(nms_pre=-1, score_thr=0.2)], ids=str)
    def test_boxes_are_those_of_the_parent(self, name, with_nms, cfg):
        changes = {key: value for key, value in LOSSES[name].items() if key == 'loss_cls'}
        changes['test_cfg'] = {**TEST_CFG, **cfg}
        head = retina_face(**changes)
        scores, deltas, landmarks = predictions(head, spread=2.0)
        for rescale in (False, True):
            options = dict(batch_img_metas=images()['batch_img_metas'], rescale=rescale, with_nms=with_nms)
            expected = as_parent(head, **changes).predict_by_feat(scores, deltas, **options)
            for own, other in zip(head.predict_by_feat(scores, deltas, landmarks, **options), expected, strict=True):
                assert len(own) == len(own.keypoints) > 5
                assert_close({key: own[key] for key in ('bboxes', 'scores', 'labels')}, dict(other.items()))

    @pytest.mark.parametrize('rescale', [False, True])
    @pytest.mark.parametrize('nms', [dict(type='nms', iou_threshold=0.3), dict(type='soft_nms', iou_threshold=0.3)])
    def test_landmarks_stay_beside_their_boxes(self, rescale, nms):
        """Through the threshold, the best of every level, small boxes dropped, NMS, a limit, and other pixels."""
        head = retina_face(
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2], clip_border=False),
            test_cfg=dict(TEST_CFG, nms=nms, nms_pre=60, min_bbox_size=10, score_thr=0.1, max_per_img=30),
        )
        metas = images()['batch_img_metas']
        for result in head.predict_by_feat(*corner_maps(head), batch_img_metas=metas, rescale=rescale):
            assert 10 < len(result) <= 30
            boxes, points = result.bboxes, result.keypoints
            centre = (boxes[:, :2] + boxes[:, 2:]) / 2
            corners = [boxes[:, [0, 1]], boxes[:, [2, 1]], centre, boxes[:, [0, 3]], boxes[:, [2, 3]]]
            assert_close(points, torch.stack(corners, 1), rtol=1e-4, atol=1e-3)

    def test_rescale(self):
        """The width was doubled, the height halved."""
        head = retina_face()
        maps, metas = predictions(head, spread=2.0), images()['batch_img_metas']
        plain, scaled = (head.predict_by_feat(*maps, batch_img_metas=metas, rescale=rescale)[0] for rescale in (0, 1))
        assert_close(scaled.keypoints, plain.keypoints / torch.tensor([2.0, 0.5]))

    def test_landmarks_of_a_face_at_the_border(self):
        """The box ends with the image, a landmark need not."""
        head = retina_face()
        scores, deltas, landmarks = predictions(head, 1, spread=0.0)
        landmarks = [torch.full_like(x, 9.0) for x in landmarks]
        (result,) = head.predict_by_feat(scores, deltas, landmarks, images(EMPTY)['batch_img_metas'])
        assert result.bboxes.max() <= SHAPE[1]
        assert result.keypoints[..., 0].max() > SHAPE[1]

    def test_no_detections(self):
        head = retina_face(loss_cls=FOCAL)
        for with_nms in (True, False):
            results = head.predict_by_feat(
                *head(features(head)), batch_img_metas=images()['batch_img_metas'], rescale=True, with_nms=with_nms
            )
            assert [tuple(result.keypoints.shape) for result in results] == [(0, 5, 2)] * 2
            assert [tuple(result.bboxes.shape) for result in results] == [(0, 4)] * 2

    def test_without_a_scale(self):
        head = retina_face()
        metas = [{name: value for name, value in meta.items() if name != 'scale_factor'} for meta in metas_of_two()]
        with pytest.raises(ValueError, match=r'RetinaFaceHead: image image_0\.png has no scale_factor .* add Resize'):
            head.predict_by_feat(*predictions(head), batch_img_metas=metas, rescale=True)
        assert len(head.predict_by_feat(*predictions(head), batch_img_metas=metas)) == 2

    def test_without_test_cfg(self):
        head = retina_face(test_cfg=None)
        with pytest.raises(ValueError, match='RetinaFaceHead: prediction needs test_cfg'):
            head.predict_by_feat(*predictions(head), batch_img_metas=metas_of_two())

    def test_loss_and_predict(self):
        head = retina_face()
        losses, results = head.loss_and_predict(features(head), samples())
        assert 'loss_landmark' in losses
        assert results[0].keypoints.shape[1:] == (5, 2)


def metas_of_two():
    return images()['batch_img_metas']


class TestWithoutLandmarks:
    def test_it_is_the_parent(self):
        """The same head measures what landmarks are worth."""
        head = retina_face(num_landmarks=0, kernel_size=3)
        parent = as_parent(head)
        head.load_state_dict(parent.state_dict())
        feats = features(head)
        *maps, nothing = head(feats)
        assert nothing == []
        assert_close(tuple(maps), parent(feats))
        losses, expected = head.loss(feats, samples()), parent.loss(feats, samples())
        assert losses.keys() == expected.keys()
        assert_close(losses, expected)
        for own, other in zip(head.predict(feats, samples()), parent.predict(feats, samples()), strict=True):
            assert 'keypoints' not in own
            assert_close(dict(own.items()), dict(other.items()))

    def test_ground_truth_needs_none_and_may_have_any(self):
        head = retina_face(num_landmarks=0)
        wrong = dict(GTS[1], keypoints=[[[math.nan] * 7]])
        losses = head.loss(features(head), samples({**GTS[0], 'keypoints': [[]] * 3}, wrong))
        total(losses).backward()
        assert unused(head) == []
        assert not hasattr(head, 'loss_landmark')


class TestStructure:
    def test_retina_face(self):
        """A conv of 1x1 per branch and level, two anchors per place: (64 + 1) * 2 * (2 + 4 + 10) weights a level."""
        head = MODELS.build(dict(type='RetinaFaceHead', num_classes=1, in_channels=64))
        assert sum(value.numel() for value in head.parameters()) == 3 * 65 * 2 * 16
        assert all(conv.kernel_size == (1, 1) for conv in head.modules() if isinstance(conv, nn.Conv2d))
        priors = head.prior_generator.grid_priors([(640 // stride,) * 2 for stride in (8, 16, 32)], device='cpu')
        assert [len(level) for level in priors] == [12800, 3200, 800]
        assert priors[0][:3].tolist() == [[-4, -4, 12, 12], [-12, -12, 20, 20], [4, -4, 20, 12]]
        assert priors[2][:2].tolist() == [[-112, -112, 144, 144], [-240, -240, 272, 272]]
        assert head.loss_cls.neg_pos_ratio == 7
        assert [head.loss_cls.loss_weight, head.loss_bbox.loss_weight, head.loss_landmark.loss_weight] == [1, 2, 1]

    @pytest.mark.parametrize(
        ('changes', 'convs'),
        [({}, 0), (dict(stacked_convs=2), 3 * 2 * 3), (dict(shared_convs=1, share_levels=True), 1)],
    )
    def test_towers(self, changes, convs):
        head = retina_face(**changes, feat_channels=4, kernel_size=3)
        assert len(head.predictors) == (1 if 'share_levels' in changes else 3)
        assert sum(type(module).__name__ == 'ConvModule' for module in head.modules()) == convs
        maps = head(features(head))
        assert [tuple(x.shape) for x in maps[2]] == [(2, 20, *size) for size in SIZES]
        total(head.loss(features(head), samples())).backward()
        assert unused(head) == []

    def test_one_class_by_sigmoid_or_softmax(self):
        for loss, channels in ((FOCAL, 1), (SOFTMAX, 2)):
            head = retina_face(num_classes=1, loss_cls=loss)
            assert head.cls_out_channels == channels
            gts = dict(GTS[1], labels=[0])
            total(head.loss(features(head, 1), samples(gts))).backward()
            assert unused(head) == []

    def test_more_landmarks(self):
        head = retina_face(num_landmarks=2)
        gts = dict(GTS[1], keypoints=[face(GTS[1]['bboxes'][0])[:2]])
        losses = head.loss(features(head, 1), samples(gts))
        assert losses['num_pos_landmarks'] > 0
        assert head.predict(features(head, 1), samples(gts))[0].keypoints.shape[1:] == (2, 2)

    def test_state(self):
        head, other = retina_face(), retina_face()
        other.load_state_dict(head.state_dict())
        feats = features(head)
        for own, same in zip(head(feats), other(feats), strict=True):
            assert_close(own, same, rtol=0, atol=0)
        names = {f'predictors.{i}.conv_{kind}' for i in range(3) for kind in ('cls', 'reg', 'landmark')}
        assert {name.rsplit('.', 1)[0] for name in head.state_dict()} == names

    def test_export(self):
        head = retina_face().eval()
        feats = features(head, 1)
        program = torch.export.export(head, (feats,))
        for own, exported in zip(head(feats), program.module()(feats), strict=True):
            assert_close(own, list(exported))

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (dict(num_landmarks=-1), r'num_landmarks must be an integer of at least 0 \(no landmarks\), got -1'),
            (dict(num_landmarks=2.5), r'num_landmarks must be .* got 2\.5'),
            (dict(kernel_size=2), 'kernel_size must be an odd integer, got 2'),
            (dict(kernel_size=-1), 'kernel_size must be an odd integer, got -1'),
            (dict(loss_landmark=dict(type='L1Loss', reduction='sum')), "loss_landmark has reduction='sum'"),
            (dict(in_channels=(8, 8)), r'in_channels=\(8, 8\) names 2 levels'),
            (dict(stacked_convs=-1), 'stacked_convs must be'),
        ],
    )
    def test_bad_options(self, changes, message):
        with pytest.raises(ValueError, match=f'RetinaFaceHead: {message}'):
            retina_face(**changes)

    def test_bad_maps(self):
        head = retina_face()
        with pytest.raises(ValueError, match='RetinaFaceHead: 2 feature maps, but anchors for 3 levels'):
            head(features(head)[:2])

    def test_family(self):
        assert issubclass(RetinaFaceHead, SingleShotHead)


def test_training_moves_landmarks_to_the_face():
    head = retina_face(stacked_convs=1, feat_channels=16, norm_cfg=dict(type='GN', num_groups=2))
    feats, gts = features(head, 1), GTS[1]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)

    def error():
        with torch.no_grad():
            best = head.predict(feats, samples(gts))[0]
        return float((best.keypoints[0] - torch.tensor(gts['keypoints'])[0, :, :2]).norm(dim=1).mean())

    before = error()
    for _ in range(40):
        optimizer.zero_grad()
        total(head.loss(feats, samples(gts))).backward()
        optimizer.step()
    assert before > 10
    assert error() < before / 10
