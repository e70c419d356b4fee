"""WIDER FACE, with the five landmarks of RetinaFace's label file or without."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path
from PIL import Image

from .image_checks import upright_size
from .problems import listing, nearest
from .wider_labels import WiderFace, read_wider_labels

_FILTERS = ('filter_empty_gt', 'min_size', 'bbox_min_size')


@DATASETS.register_module()
class WiderFaceLandmarkDataset(BaseDetDataset):
    """Faces of WIDER FACE from the official label file or from RetinaFace's, which is told by its first line.

    mmdet's WIDERFaceDataset reads xml files that somebody else made, without landmarks. Here `ann_file` is the label
    file (see `wider_labels`), and `data_prefix=dict(img='WIDER_train/images')` the folder of `EVENT/FILE.jpg`. `img_id`
    is `EVENT/FILE`, as the official lists of the evaluation name it. Instances hold `bbox`, `bbox_label` 0,
    `ignore_flag` and, where a landmark of the face is labelled, `keypoints` (15 numbers x, y, v).

    Ignored, that is neither trained as faces nor as background, are

    - faces with the official flag `invalid`;
    - faces that cover nothing of the image: of zero width or height, or outside of it;
    - in training, with `filter_cfg=dict(bbox_min_size=...)`, faces with a side shorter than that.

    The size of an image is read from its header, once when the labels are loaded (seconds for the training set); so
    a missing picture is told at once.

    Args:
        filter_cfg: For training, besides `bbox_min_size`: `filter_empty_gt=True` leaves out images without a face that
            is not ignored (default: they are kept, as background), `min_size=32` images with a side shorter than that.
        kwargs: As in mmdet's BaseDetDataset.

    Raises:
        FileNotFoundError: There is no label file.
        ValueError: An unknown key of `filter_cfg`, a fault of the label file (see `read_wider_labels`), or an image
            that is missing or no picture; with file and line.
    """

    METAINFO = {'classes': ('face',), 'palette': [(0, 220, 160)]}

    def __init__(self, *args: Any, filter_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        unknown = [key for key in filter_cfg or {} if key not in _FILTERS]
        if unknown:
            raise ValueError(
                f'WiderFaceLandmarkDataset: filter_cfg knows {listing(_FILTERS)}, not {unknown[0]!r}'
                f'{nearest(unknown[0], _FILTERS)}'
            )
        super().__init__(*args, filter_cfg=filter_cfg, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the label file and the headers of the images."""
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            images = read_wider_labels(path)
        data_list = []
        for image in images:
            img_path = osp.join(self.data_prefix.get('img', ''), image.name)
            width, height = self._size(img_path, f'{self.ann_file}, line {image.line}')
            data_list.append(
                {
                    'img_id': osp.splitext(image.name)[0],
                    'img_path': img_path,
                    'width': width,
                    'height': height,
                    'instances': [self._instance(face, width, height) for face in image.faces],
                }
            )
        return data_list

    def _size(self, img_path: str, where: str) -> tuple[int, int]:
        """Width and height as the picture will be loaded."""
        try:
            with get_local_path(img_path, backend_args=self.backend_args) as path, Image.open(path) as picture:
                width, height = upright_size(picture)
                return int(width), int(height)
        except OSError as error:  # Pillow's UnidentifiedImageError is one too
            reason = 'does not exist' if isinstance(error, FileNotFoundError) else f'is no picture ({error})'
            raise ValueError(f'{where}: the image {img_path} {reason}; correct `data_prefix` or the file') from error

    def _instance(self, face: WiderFace, width: int, height: int) -> dict[str, Any]:
        x, y, w, h = face.box
        bbox = [x, y, x + w, y + h]
        smallest = 0 if self.test_mode else (self.filter_cfg or {}).get('bbox_min_size') or 0
        ignored = face.invalid or not covers_image(bbox, width, height) or min(w, h) < smallest
        instance: dict[str, Any] = {'bbox': bbox, 'bbox_label': 0, 'ignore_flag': int(ignored)}
        if face.keypoints is not None:
            instance['keypoints'] = face.keypoints
        return instance

    def filter_data(self) -> list[dict]:
        """Images that `filter_cfg` leaves for training; all of them for testing."""
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        smallest = self.filter_cfg.get('min_size') or 0
        faces_only = self.filter_cfg.get('filter_empty_gt', False)
        return [
            info
            for info in self.data_list
            if min(info['width'], info['height']) >= smallest
            and not (faces_only and all(instance['ignore_flag'] for instance in info['instances']))
        ]


def covers_image(bbox: Sequence[float], width: int, height: int) -> bool:
    """Whether a box, xyxy, covers anything of an image."""
    x1, y1, x2, y2 = bbox
    return min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0)
