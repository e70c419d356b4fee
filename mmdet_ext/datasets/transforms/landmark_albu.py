"""Transforms of Albumentations that landmarks, parts and masks follow."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmdet.datasets.transforms import Albu
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes, autocast_box_type
from mmdet.structures.mask import BitmapMasks
from numpy.typing import NDArray

from mmdet_ext.datasets.problems import nearest

from .follow_landmarks import FollowLandmarks
from .landmark_geometry import FACE_PAIRS, Keypoints, box_array, hide_outside, mirrored_landmarks
from .part_geometry import project_points

_ROWS = ('gt_bboxes_labels', 'gt_ignore_flags', 'gt_instances_ids')
_LIMITS = ('min_area', 'min_visibility', 'min_width', 'min_height')
_KNOWN = (*_LIMITS, 'type', 'format', 'label_fields', 'filter_lost_elements')
_TOLERANCE = 0.5  # pixels that a point may be off the fitted motion


class _RecordedAlbu(Albu):
    """mmdet's Albu that records its motion in `homography_matrix`, as mmdet's own geometric transforms do."""

    aug: Any

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        bbox_params: Mapping[str, Any] | None = None,
        skip_img_without_anno: bool = False,
    ) -> None:
        try:
            import albumentations
        except ImportError as error:
            raise ImportError(
                'LandmarkAlbu needs albumentations: pip install -r requirements/optional.txt installs it'
            ) from error
        for name in _names(transforms):
            if not hasattr(albumentations, name):
                hint = nearest(name, dir(albumentations))
                raise ValueError(f'LandmarkAlbu: albumentations {albumentations.__version__} has no {name!r}{hint}')
        given = dict(bbox_params or {})
        unknown = sorted(set(given) - set(_KNOWN))
        if unknown or given.get('format', 'pascal_voc') != 'pascal_voc':
            raise ValueError(
                f"LandmarkAlbu: bbox_params may have {', '.join(_LIMITS)}; boxes are of the format 'pascal_voc', and "
                f'all that belongs to a box goes with it; got {bbox_params!r}'
            )
        super().__init__([dict(node) for node in transforms], skip_img_without_anno=skip_img_without_anno)
        limits = {name: given[name] for name in _LIMITS if name in given}
        boxes = albumentations.BboxParams(
            'pascal_voc', label_fields=['rows'], clip=True, filter_invalid_bboxes=True, **limits
        )
        points = albumentations.KeypointParams('xy', label_fields=['point_rows'], remove_invisible=False)
        with warnings.catch_warnings():
            # Changes of colour alone are told that they leave boxes and points as they are.
            warnings.filterwarnings('ignore', 'Got processor for')
            self.aug = albumentations.Compose(self.aug.transforms, bbox_params=boxes, keypoint_params=points)

    @autocast_box_type()
    def transform(self, results: dict) -> dict | None:
        """Transform one image.

        Raises:
            ValueError: Pixels moved in a way that is no homography.
        """
        # Albumentations draws from a generator of its own: one seed would not repeat a run, and workers would be alike.
        self.aug.set_random_seed(int(np.random.randint(2**31)))  # noqa: NPY002  (as mmdet, from the global generator)
        before = results['img'].shape[:2]
        grid = _pixel_grid(*before)
        # Albumentations has pixel centres at whole numbers, boxes and mmdet at halves.
        out = self.aug(**_as_targets(results), keypoints=grid - 0.5, point_rows=np.arange(len(grid)))
        after = out['image'].shape[:2]
        left = np.asarray(out['point_rows'], np.int64)
        step = _fit_motion(grid[left], np.asarray(out['keypoints'], np.float64).reshape(-1, 2) + 0.5, results)
        still = after == before and np.allclose(step, np.eye(3), rtol=0, atol=1e-4)
        rows = np.asarray(out['rows'], np.int64)
        results['img'], results['img_shape'] = out['image'], after
        if results.get('gt_bboxes') is not None:
            moved = np.asarray(out['bboxes'], np.float32).reshape(-1, 4)
            # Rounded once more otherwise.
            results['gt_bboxes'] = HorizontalBoxes(box_array(results['gt_bboxes'])[rows] if still else moved)
            for key in _ROWS:
                if results.get(key) is not None:
                    results[key] = np.asarray(results[key])[rows]
        if results.get('gt_masks') is not None:
            masks = [out['masks'][row] for row in rows] if len(rows) else np.zeros((0, *after), np.uint8)
            results['gt_masks'] = BitmapMasks(masks, *after)
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = out['mask']
        if not still:
            known = results.get('homography_matrix')
            results['homography_matrix'] = step if known is None else step @ known
        lost = results.get('gt_bboxes') is not None and not len(rows)
        return None if lost and self.skip_img_without_anno else results


@TRANSFORMS.register_module()
class LandmarkAlbu(FollowLandmarks, _RecordedAlbu):
    """mmdet's Albu, and masks, landmarks and parts follow: take it wherever Albu stands in a config.

    mmdet's Albu leaves `gt_keypoints` and part boxes where they were, fails for an image without masks, makes labels
    of an image without boxes floats, and is not repeated by the seed of a run. Here a grid of points goes along and
    tells the motion, which is recorded in `homography_matrix` as mmdet's Resize and RandomFlip do; so `gt_keypoints`
    follow it, and `PackPartInputs` moves the parts. Motions that are no homography (ElasticTransform, GridDistortion,
    RandomGridShuffle) are refused when they happen. Random numbers are seeded from numpy's global generator.

    Boxes are clipped to the image; boxes without area, and those outside of it, are dropped with all that belongs to
    them. Landmarks that leave the image get v = 0, and where it is mirrored, pairs change places. Polygon masks become
    bitmaps. A segmentation map is filled with 0 unless the transform says `fill_mask=255`. Where Albumentations
    rescales by a factor s, landmarks and parts are up to |s - 1| / 2 pixels beside the boxes, because it scales points
    from the centre of the first pixel and boxes from its corner.

    Args:
        transforms: Albumentations' transforms by name, such as `[dict(type='Affine', rotate=(-10, 10), p=0.5)]`.
        bbox_params: `min_area`, `min_visibility`, `min_width` and `min_height` of a box that stays; `type`, `format`
            ('pascal_voc'), `label_fields` and `filter_lost_elements` of a config for Albu change nothing.
        skip_img_without_anno: Whether an image that has no box left is left out.
        swap_pairs: As of `LandmarkRandomFlip`.

    Raises:
        ImportError: Albumentations is not installed.
        ValueError: It has no transform of that name, or a bad `bbox_params`.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        bbox_params: Mapping[str, Any] | None = None,
        skip_img_without_anno: bool = False,
        swap_pairs: Sequence[Sequence[int]] = FACE_PAIRS,
    ) -> None:
        super().__init__(transforms, bbox_params, skip_img_without_anno)
        self.swap_pairs = swap_pairs

    def adjust(self, keypoints: Keypoints, step: NDArray[np.floating], img_shape: tuple[int, int]) -> Keypoints:
        """Swap the landmarks of pairs where the image was mirrored, and hide those outside."""
        if np.linalg.det(step[:2, :2]) < 0:
            keypoints = keypoints[:, mirrored_landmarks(keypoints.shape[1], self.swap_pairs)]
        return hide_outside(keypoints, img_shape)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, swap_pairs={self.swap_pairs})'


def _names(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Names of all transforms, those inside of others too."""
    for node in nodes:
        if isinstance(node.get('type'), str):
            yield node['type']
        yield from _names(node.get('transforms', ()))


def _pixel_grid(height: int, width: int) -> NDArray[np.float64]:
    """Centres of 25 pixels all over an image, (25, 2) x, y."""
    x, y = np.meshgrid(np.linspace(0.5, width - 0.5, 5), np.linspace(0.5, height - 0.5, 5))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _as_targets(results: dict) -> dict[str, Any]:
    """What Albumentations transforms, under its names."""
    boxes = results.get('gt_bboxes')
    array = np.zeros((0, 4), np.float32) if boxes is None else box_array(boxes)
    targets = {'image': results['img'], 'bboxes': array, 'rows': np.arange(len(array))}
    masks = results.get('gt_masks')
    # It cannot stack no masks.
    if masks is not None and len(masks):
        targets['masks'] = list(masks.masks if isinstance(masks, BitmapMasks) else masks.to_bitmap().masks)
    if results.get('gt_seg_map') is not None:
        targets['mask'] = results['gt_seg_map']
    return targets


def _fit_motion(before: NDArray[np.float64], after: NDArray[np.float64], results: dict) -> NDArray[np.float64]:
    """The homography (3, 3) that takes points to where they are."""
    step: Any = cv2.findHomography(before, after, 0)[0] if len(before) >= 4 else None
    if step is None or not np.abs(project_points(before, step) - after).max() <= _TOLERANCE:
        raise ValueError(
            f'LandmarkAlbu: pixels of {results.get("img_path")} were moved in a way that landmarks and parts cannot '
            'follow; take no distortion, shuffle or mosaic, but Affine, Perspective, flips, crops and changes of colour'
        )
    return step
