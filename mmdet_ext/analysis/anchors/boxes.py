"""The boxes that anchors have to fit: those of a config's training sets, in pixels of the resized images."""

import contextlib
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from numpy.typing import NDArray

from ..train_set import Resizer, TrainSet, open_train_sets, seeded

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BoxSet:
    """Boxes with their images.

    Attributes:
        boxes: (N, 4) xyxy in pixels of the resized image.
        sizes: (N, 2) width and height of that image.
        images: Number of images read, those without a box too.
        ignored: Boxes left out: crowds, difficult ones, those marked to be ignored.
        no_size: Boxes left out: zero or negative width or height, outside the image, NaN.
        notes: Sentences on what was done to the boxes.
    """

    boxes: Floats
    sizes: Floats
    images: int
    ignored: int = 0
    no_size: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def shapes(self) -> Floats:
        """(N, 2) widths and heights."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def sample(self, most: int, seed: int) -> 'BoxSet':
        """At most so many of the boxes, drawn at random, in their order."""
        if len(self) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False))
        return BoxSet(self.boxes[kept], self.sizes[kept], self.images, self.ignored, self.no_size, self.notes)


def read_boxes(cfg: Config, num: int | None = None, seed: int = 0, augmented: bool = False) -> BoxSet:
    """Read the boxes of a config's training sets.

    By default nothing is decoded: annotated boxes are clipped to their image and scaled as the resizing transforms of
    the training pipeline scale it (random scales are drawn). Crops, mosaics and so on are left out, which a note says.

    Args:
        cfg: Config with `train_dataloader`.
        num: Number of images, drawn at random; None for all, once each.
        seed: Of everything random.
        augmented: Run the whole training pipeline instead, images and all, and take the boxes it packs.

    Raises:
        FileNotFoundError: An annotation file or, with `augmented`, an image is not there.
        ValueError: There is no training set, it has no box with a size, or images without a size in their annotations.
    """
    if num is not None and num < 1:
        raise ValueError(f'--num {num}: the number of images must be at least 1; leave it out for all of them')
    with seeded(seed):
        found = _read_augmented(cfg, num, seed) if augmented else _read_resized(open_train_sets(cfg), num, seed)
    if not len(found):
        raise ValueError(
            f'{cfg.filename}: none of the {found.images} training images has a box with a size (left out: '
            f'{found.ignored} to be ignored, {found.no_size} without a size); check data and class names with '
            'tools/dataset_tools/check_dataset.py'
        )
    return found


def _read_resized(sets: list[TrainSet], num: int | None, seed: int) -> BoxSet:
    places = [(train_set, index) for train_set in sets for index in range(len(train_set.dataset))]
    if num is not None and num < len(places):
        chosen = np.random.default_rng(seed).choice(len(places), num, replace=False)
        places = [places[place] for place in np.sort(chosen)]
    resizers = {id(train_set): Resizer(train_set.resizes) for train_set in sets}
    parts: list[tuple[Floats, Floats]] = []
    ignored = no_size = 0
    for train_set, index in places:
        info = train_set.dataset.get_data_info(index)
        instances = info.get('instances') or []
        boxes = [instance['bbox'] for instance in instances if not instance.get('ignore_flag')]
        before = train_set.dropped.get(info.get('img_id'), (0, 0))
        ignored += before[0] + len(instances) - len(boxes)
        no_size += before[1]
        if not boxes:
            continue
        if not info.get('width') or not info.get('height'):
            raise ValueError(
                f'{train_set.spec.where}: image {info.get("img_path", info.get("img_id"))} has no width and height in '
                'its annotations; --augmented reads them from the images'
            )
        frame = np.array([info['width'], info['height']], np.float64)
        scaled = np.array(resizers[id(train_set)](info['width'], info['height']), np.float64)
        kept, bad = _clip(np.asarray(boxes, np.float64).reshape(-1, 4), frame)
        no_size += bad
        parts.append((kept * np.tile(scaled / frame, 2), np.tile(scaled, (len(kept), 1))))
    return _join(parts, len(places), ignored, no_size, _notes(sets))


def _clip(boxes: Floats, frame: Floats) -> tuple[Floats, int]:
    """Boxes as far as they are inside their image, and the number of those of which nothing is."""
    clipped = np.concatenate([np.clip(boxes[:, :2], 0, frame), np.clip(boxes[:, 2:], 0, frame)], axis=1)
    # NaN is not greater than anything.
    good = (clipped[:, 2:] > clipped[:, :2]).all(1)
    return clipped[good], int((~good).sum())


def _notes(sets: Iterable[TrainSet]) -> tuple[str, ...]:
    sets = list(sets)
    notes = []
    left_out = dict.fromkeys(name for train_set in sets for name in train_set.left_out)
    if left_out:
        notes.append(
            f'Boxes as annotated and resized, without {", ".join(left_out)}; --augmented runs the whole pipeline.'
        )
    if any(not train_set.resizes for train_set in sets):
        notes.append('No transform of the training pipeline resizes: boxes are in pixels of the image files.')
    return tuple(notes)


def _read_augmented(cfg: Config, num: int | None, seed: int) -> BoxSet:
    # It says what is missing before a worker fails.
    open_train_sets(cfg)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    left_out = ('persistent_workers', 'collate_fn')
    options = {key: value for key, value in cfg.train_dataloader.items() if key not in left_out}
    with contextlib.redirect_stdout(io.StringIO()):
        loader = Runner.build_dataloader(options, seed=seed)
    wanted = num or len(loader.dataset)
    parts: list[tuple[Floats, Floats]] = []
    images = ignored = no_size = 0
    for batch in loader:
        if not isinstance(batch.get('inputs'), list):
            raise ValueError(f'{cfg.filename}: its pipeline packs several images as one sample; leave --augmented out')
        for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            if images == wanted:
                break
            images += 1
            ignored += len(sample.get('ignored_instances', ()))
            boxes = get_box_tensor(sample.gt_instances.bboxes).double().numpy().reshape(-1, 4)
            size = np.array([image.shape[-1], image.shape[-2]], np.float64)
            kept, bad = _clip(boxes, size)
            no_size += bad
            parts.append((kept, np.tile(size, (len(kept), 1))))
        # Some samplers never end.
        if images == wanted:
            break
    return _join(parts, images, ignored, no_size, ('Boxes as the whole training pipeline packs them.',))


def _join(
    parts: list[tuple[Floats, Floats]], images: int, ignored: int, no_size: int, notes: tuple[str, ...]
) -> BoxSet:
    boxes = np.concatenate([np.empty((0, 4)), *(part[0] for part in parts)])
    sizes = np.concatenate([np.empty((0, 2)), *(part[1] for part in parts)])
    return BoxSet(boxes, sizes, images, ignored, no_size, notes)
