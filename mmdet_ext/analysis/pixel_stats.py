"""Mean and standard deviation of pixels, image by image: nothing but a few numbers is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from .train_set import TrainSet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PixelStats:
    """Pixels of some images, summed up; two of them merge into one (Chan, Golub and LeVeque 1979).

    Attributes:
        images: Number of images.
        pixels: Number of pixels.
        mean: (C,) mean of every channel, in the order of the image.
        squares: (C,) sum of the squared distances to the mean.
        high: Largest value.
    """

    images: int
    pixels: int
    mean: Floats
    squares: Floats
    high: float

    @classmethod
    def of(cls, image: NDArray[Any]) -> 'PixelStats':
        """Of one image, (h, w) or (h, w, C); in float64 whatever its type.

        Raises:
            ValueError: It has no pixels, or values that are not finite.
        """
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or not image.size:
            raise ValueError(f'an image must be (h, w) or (h, w, channels) with at least one pixel, got {image.shape}')
        pixels = image.shape[0] * image.shape[1]
        if image.dtype == np.uint8:
            # As good as exact for values this small, and much faster than a copy in float64.
            found = [cv2.meanStdDev(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]
            mean, std = (np.array([float(pair[part][0, 0]) for pair in found]) for part in (0, 1))
            squares = std**2 * pixels
        else:
            flat = image.reshape(pixels, -1).astype(np.float64)
            mean = flat.mean(0)
            squares = ((flat - mean) ** 2).sum(0)
        if not np.isfinite(squares).all():
            raise ValueError('the image has pixels that are not finite numbers')
        return cls(1, pixels, mean, squares, float(image.max()))

    def merge(self, other: 'PixelStats') -> 'PixelStats':
        """Both together.

        Raises:
            ValueError: They have different numbers of channels.
        """
        if len(self.mean) != len(other.mean):
            raise ValueError(
                f'images have {len(self.mean)} and {len(other.mean)} channels: their pixels have no common mean; set '
                "color_type='color' in LoadImageFromFile"
            )
        pixels = self.pixels + other.pixels
        step = other.mean - self.mean
        mean = self.mean + step * (other.pixels / pixels)
        squares = self.squares + other.squares + step**2 * (self.pixels / pixels * other.pixels)
        return PixelStats(self.images + other.images, pixels, mean, squares, max(self.high, other.high))

    @property
    def std(self) -> Floats:
        """(C,) standard deviation over all pixels."""
        return np.sqrt(self.squares / self.pixels)


class _Images(Dataset):
    """Statistics of the images of training sets, or the sentence that says why there are none."""

    def __init__(self, sets: Sequence[TrainSet], num: int | None, seed: int) -> None:
        self.sets = [train_set.dataset for train_set in sets]
        self.pipelines = [Compose([TRANSFORMS.build(node) for node in train_set.loads]) for train_set in sets]
        self.places = [(part, index) for part, dataset in enumerate(self.sets) for index in range(len(dataset))]
        if num is not None and num < len(self.places):
            chosen = np.random.default_rng(seed).choice(len(self.places), num, replace=False)
            self.places = [self.places[place] for place in np.sort(chosen)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> PixelStats | str:
        part, index = self.places[place]
        info = self.sets[part].get_data_info(index)
        path = info.get('img_path', info.get('img_id'))
        # An exception of a worker would arrive as the text of its traceback.
        try:
            return PixelStats.of(self.pipelines[part](dict(info))['img'])
        except Exception as error:
            if isinstance(path, str) and '://' not in path and not Path(path).is_file():
                return f'there is no image {path}; check the folder (data_prefix) of the training set'
            return f'{path} cannot be read ({str(error).strip() or type(error).__name__})'


def measure_pixels(sets: Sequence[TrainSet], num: int | None = None, workers: int = 0, seed: int = 0) -> PixelStats:
    """Sum up the pixels of the images as the training pipelines load them: before any augmentation, resize or padding.

    Every pixel counts once, so large images count more.

    Args:
        sets: Of a config, see `open_train_sets`.
        num: Number of images, drawn at random; None for all, once each.
        workers: Processes that decode.
        seed: Of the draw.

    Raises:
        ValueError: There are no images, a pipeline loads none, one cannot be read, or their channels differ.
    """
    if num is not None and num < 1:
        raise ValueError(f'--num {num}: the number of images must be at least 1; leave it out for all of them')
    if workers < 0:
        raise ValueError(f'the number of workers must be at least 0, got {workers}')
    for train_set in sets:
        if not train_set.loads:
            raise ValueError(f'{train_set.spec.where}: its pipeline loads no image; it needs LoadImageFromFile')
    images = _Images(sets, num, seed)
    total: PixelStats | None = None
    for found in DataLoader(images, batch_size=8, num_workers=workers, collate_fn=list):
        for stats in found:
            if isinstance(stats, str):
                raise ValueError(stats)
            total = stats if total is None else total.merge(stats)
    if total is None:
        raise ValueError(f'{sets[0].spec.where}: the training set has no images')
    return total
