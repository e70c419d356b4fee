"""PackPartInputs: parts go where mmdet's transforms put ground truth boxes; test-time augmentation; DetInferencer."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmdet.apis import DetInferencer
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from test_models.small_detector import CONFIGS, small_config

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.transforms import PackPartInputs
from mmdet_ext.datasets.transforms.part_geometry import mirrored_order

NAMES = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')
BOXES = np.array([[5, 6, 20, 30], [25, 8, 44, 35], [15, 20, 30, 33], [0, 0, 8, 12], [40, 1, 48, 11]], np.float32)
HEIGHT, WIDTH = 36, 48


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def sample(boxes=BOXES, valid=None, **more):
    """One image whose parts are its ground truth too; labels are the numbers of the parts."""
    return {
        'img': np.zeros((HEIGHT, WIDTH, 3), np.uint8), 'img_path': 'a.png', 'img_id': 1,
        'img_shape': (HEIGHT, WIDTH), 'ori_shape': (HEIGHT, WIDTH),
        'gt_bboxes': HorizontalBoxes(torch.tensor(boxes)), 'gt_bboxes_labels': np.arange(len(boxes)),
        'gt_ignore_flags': np.zeros(len(boxes), bool), 'part_boxes': boxes.copy(), 'part_names': NAMES,
        'part_valid': np.ones(len(boxes), bool) if valid is None else np.array(valid), **more,
    }  # fmt: skip


def run(transforms, results=None, **pack):
    """Data sample of a pipeline."""
    pipeline = Compose([*map(TRANSFORMS.build, transforms), PackPartInputs(**pack)])
    return pipeline(sample() if results is None else results)['data_samples']


def flip(direction='horizontal', prob=1.0):
    return dict(type='RandomFlip', prob=prob, direction=direction)


def resize(*scale, keep_ratio=False, **more):
    return dict(type='Resize', scale=scale, keep_ratio=keep_ratio, **more)


def crop(w, h):
    return dict(type='RandomCrop', crop_size=(w, h), allow_negative_crop=True)


def assert_parts_follow_boxes(transforms, results=None):
    """Parts that are left lie where the same boxes as ground truth lie; the others are those mmdet dropped."""
    got = run(transforms, results, swap_pairs=(), min_area_ratio=0.0)
    truth = got.gt_instances.bboxes.tensor
    sides = (truth[:, 2:] - truth[:, :2]).min(dim=1).values
    kept = got.gt_instances.labels
    torch.testing.assert_close(got.parts.bboxes[kept][sides > 1e-3], truth[sides > 1e-3], rtol=1e-5, atol=1e-3)
    lost = sorted(set(range(len(NAMES))) - set(kept[sides > 1e-3].tolist()))
    rest = got.parts.bboxes[lost]
    assert ((rest[:, 2:] - rest[:, :2]).min(dim=1).values < 1e-2).all()
    assert got.parts.valid[kept[sides > 1e-3]].all()
    assert (got.parts.bboxes[~got.parts.valid] == 0).all()


steps = st.one_of(
    st.builds(resize, st.integers(10, 90), st.integers(10, 90), keep_ratio=st.booleans()),
    st.builds(flip, st.sampled_from(['horizontal', 'vertical', 'diagonal']), st.sampled_from([0.0, 1.0])),
    st.builds(crop, st.integers(5, 60), st.integers(5, 60)),
)
edges = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, WIDTH), st.integers(1, HEIGHT))


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=5), st.lists(edges, min_size=5, max_size=5))
def test_any_sequence_moves_parts_like_ground_truth(transforms, rows):
    boxes = np.array([[x, y, min(x + w, WIDTH), min(y + h, HEIGHT)] for x, y, w, h in rows], np.float32)
    assert_parts_follow_boxes(transforms, sample(boxes))


RECORDING = {
    'pad': [dict(type='Pad', size=(100, 90))],
    'pad, flipped': [dict(type='Pad', size_divisor=32), flip()],
    'fixed scale': [dict(type='FixScaleResize', scale=(90, 90), keep_ratio=True)],
    'fixed shape': [dict(type='FixShapeResize', width=70, height=30)],
    'fixed shape, padded': [dict(type='FixShapeResize', width=70, height=30, keep_ratio=True)],
    'shortest edge': [dict(type='ResizeShortestEdge', scale=60, max_size=90, keep_ratio=True)],
    'random range': [dict(type='RandomResize', scale=(60, 60), ratio_range=(0.5, 2.0), keep_ratio=True), crop(30, 30)],
    'random choice': [dict(type='RandomChoiceResize', scales=[(30, 60), (60, 30)], keep_ratio=True), flip()],
    'relative crop': [dict(type='RandomCrop', crop_size=(0.4, 0.6), crop_type='relative_range')],
    'rotate': [dict(type='Rotate', prob=1.0, min_mag=20.0, max_mag=40.0)],
    'shear x': [dict(type='ShearX', prob=1.0, min_mag=10.0, max_mag=20.0)],
    'shear y': [dict(type='ShearY', prob=1.0, min_mag=10.0, max_mag=20.0)],
    'translate x': [dict(type='TranslateX', prob=1.0, min_mag=0.2, max_mag=0.3)],
    'translate y': [dict(type='TranslateY', prob=1.0, min_mag=0.2, max_mag=0.3)],
    'nested': [dict(type='RandomApply', transforms=[flip()], prob=1.0),
               dict(type='RandomChoice', transforms=[[resize(30, 30)], [resize(80, 60)]]),
               dict(type='RandomOrder', transforms=[flip('vertical'), crop(25, 25)])],
    'auto': [dict(type='AutoAugment', policies=[[dict(type='Rotate', prob=1.0, level=5)], [flip()]])],
}  # fmt: skip


@pytest.mark.parametrize('name', RECORDING)
def test_every_recording_transform_of_mmdet(name):
    assert_parts_follow_boxes(RECORDING[name])


def test_what_is_packed():
    got = run([resize(96, 72), dict(type='PhotoMetricDistortion')])
    assert got.parts.bboxes.dtype == torch.float32
    assert got.parts.valid.dtype == torch.bool
    torch.testing.assert_close(got.parts.bboxes, torch.tensor(BOXES * 2))
    assert got.part_names == NAMES
    assert got.metainfo['img_shape'] == (72, 96)
    assert 'parts' in got.keys()  # noqa: SIM118  (data, not metainfo)
    assert len(got.gt_instances) == 5


def test_meta_keys_are_those_of_mmdet():
    got = run([], meta_keys=('img_id',))
    assert set(got.metainfo) == {'img_id', 'part_names'}


@pytest.mark.parametrize(
    ('directions', 'mirrored'),
    [(['horizontal'], True), (['vertical'], False), (['diagonal'], True), (['horizontal', 'horizontal'], False)],
)
def test_left_and_right_change_places_in_a_mirrored_image(directions, mirrored):
    transforms = [flip(direction) for direction in directions]
    valid = [True, False, True, True, True]
    plain = run(transforms, sample(valid=valid), swap_pairs=()).parts
    got = run(transforms, sample(valid=valid)).parts
    order = mirrored_order(NAMES, None) if mirrored else [0, 1, 2, 3, 4]
    assert torch.equal(got.bboxes, plain.bboxes[order])
    assert torch.equal(got.valid, plain.valid[order])
    assert got.valid.tolist() == ([False, True, True, True, True] if mirrored else valid)


def test_the_slot_keeps_its_side():
    got, before = run([flip(), resize(96, 72)]).parts, run([]).parts
    centre = (got.bboxes[:, 0] + got.bboxes[:, 2]) / 2
    assert ((centre < 48) == ((before.bboxes[:, 0] + before.bboxes[:, 2]) / 2 < 24))[[0, 1, 3, 4]].all()


def test_flipping_twice_gives_the_original():
    once = run([flip()]).parts
    again = sample(once.bboxes.numpy(), once.valid.numpy())
    back = run([flip()], again).parts
    assert torch.equal(back.bboxes, torch.tensor(BOXES))
    assert back.valid.all()


def test_a_part_outside_a_crop_is_invalid(monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    got = run([crop(24, 36)]).parts
    assert got.valid.tolist() == [True, False, True, True, False]
    assert got.bboxes[2].tolist() == [15, 20, 24, 33]
    assert run([crop(24, 36)], min_area_ratio=0.7).parts.valid.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    'transforms',
    [
        [dict(type='mmengine.Resize', scale=(96, 72))],
        [dict(type='mmengine.Resize', scale=(WIDTH, HEIGHT))],
        [dict(type='mmengine.Resize', scale=(96, 72)), dict(type='Pad', size_divisor=32)],
        [dict(type='mmengine.RandomFlip', prob=1.0)],
        [dict(type='CenterCrop', crop_size=20)],
        [dict(type='RandomAffine', border=(-4, -4))],
    ],
)
def test_an_image_moved_without_a_record_is_refused(transforms):
    results = sample()
    if 'mmengine' in transforms[0]['type'] or transforms[0]['type'] == 'CenterCrop':
        del results['gt_bboxes']  # mmcv's own transforms know arrays only
    with pytest.raises(ValueError, match=r'a\.png was moved .* records no `homography_matrix`'):
        run(transforms, results)


def test_bad_use():
    with pytest.raises(ValueError, match='put LoadParts into the pipeline'):
        run([], {'img': np.zeros((4, 4, 3), np.uint8)})
    with pytest.raises(ValueError, match=r'min_area_ratio must be a share from 0 to 1, got 1\.5'):
        PackPartInputs(min_area_ratio=1.5)
    with pytest.raises(ValueError, match="swap_pairs names the part 'left lug' \\(nearest: 'left lung'\\)"):
        run([], swap_pairs=[('left lug', 'heart')])


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'phantom'
    make_chest_phantom(out, train=1, val=2, size=64, preview=False, progress=False)
    return out


@pytest.fixture
def config(phantom, monkeypatch):
    """A plain detector, small, on the phantom with parts."""
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(phantom))
    cfg = small_config(CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py')
    data = Config.fromfile(CONFIGS / '_base_/datasets/chest_phantom_parts.py')
    cfg.merge_from_dict({key: data[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')})
    return cfg


def paths(phantom):
    return [str(phantom / 'images/val' / f'00000{i}.png') for i in (1, 2)]


def record(monkeypatch, model):
    """Data samples that reach the model in `test_step`."""
    seen = []
    original = type(model)._run_forward

    def forward(self, data, mode):
        seen.extend(data['data_samples'])
        return original(self, data, mode)

    monkeypatch.setattr(type(model), '_run_forward', forward)
    return seen


def test_parts_follow_the_sample_to_the_device(config, phantom):
    pipeline = Compose(config.test_dataloader.dataset.pipeline)
    data = pseudo_collate([pipeline(dict(img_path=path, img_id=i)) for i, path in enumerate(paths(phantom))])
    preprocessor = MODELS.build(config.model.data_preprocessor)
    for training in (False, True):
        samples = preprocessor(data, training)['data_samples']
        assert [tuple(s.parts.bboxes.shape) for s in samples] == [(5, 4), (5, 4)]
    moved = samples[0].to('meta')
    assert moved.parts.bboxes.device.type == moved.parts.valid.device.type == 'meta'
    assert moved.part_names == NAMES


def test_test_time_augmentation(config, phantom, monkeypatch):
    loads, packed = config.test_dataloader.dataset.pipeline[:2], config.test_dataloader.dataset.pipeline[-1]
    packed.meta_keys = (*packed.meta_keys, 'flip', 'flip_direction')
    views = [[resize(160, 160)], [flip(), flip(prob=0.0)], [dict(type='LoadAnnotations', with_bbox=True)], [packed]]
    pipeline = Compose([*loads, dict(type='TestTimeAug', transforms=views)])
    merge = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=5)
    model = MODELS.build(ConfigDict(type='DetTTAModel', tta_cfg=merge, module=config.model)).eval()
    seen = record(monkeypatch, model.module)
    data = pseudo_collate([pipeline(dict(img_path=path, img_id=i)) for i, path in enumerate(paths(phantom))])
    with torch.no_grad():
        results = model.test_step(data)
    assert len(results) == 2
    assert [s.flip for s in seen] == [True, True, False, False]
    for flipped, plain in zip(seen[:2], seen[2:], strict=True):
        width = plain.img_shape[1]
        expected = plain.parts.bboxes[mirrored_order(NAMES, None)]
        expected = torch.stack([width - expected[:, 2], expected[:, 1], width - expected[:, 0], expected[:, 3]], 1)
        torch.testing.assert_close(flipped.parts.bboxes, expected)


def test_det_inferencer(config, phantom, monkeypatch):
    inferencer = DetInferencer(config, device='cpu', show_progress=False)
    seen = record(monkeypatch, inferencer.model)
    array = cv2.imread(paths(phantom)[0])
    given = dict(img=array, parts={'heart': [10, 20, 30, 10]})
    results = inferencer([*paths(phantom), given, dict(given, parts={})], batch_size=2, no_save_vis=True)
    assert len(results['predictions']) == 4
    valid = [[True] * 5, [True] * 5, [False, False, True, False, False], [False] * 5]
    assert [s.parts.valid.tolist() for s in seen] == valid
    torch.testing.assert_close(seen[2].parts.bboxes[2], torch.tensor([10, 20, 40, 30]) * 2.5)
    with pytest.raises(ValueError, match=r'comes as an array has no name to look up in .*parts_val\.json'):
        inferencer(array)
    cv2.imwrite(str(phantom / 'other.png'), array)
    with pytest.raises(ValueError, match=r'parts_val\.json has no entry for the image .*other\.png'):
        inferencer(str(phantom / 'other.png'))
