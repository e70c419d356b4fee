"""Reads predictions that `tools/test.py --out FILE.pkl` has stored, without running what stands in the pickle."""

import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet_ext.graphs.restricted_pickle import array_of, load_restricted


@dataclass(frozen=True)
class ImagePredictions:
    """What a detector has found in one image.

    Attributes:
        img_id: As in the annotation file.
        ori_shape: Height and width in pixels.
        bboxes: (n, 4) float tensor, xyxy in pixels of the original image.
        scores: (n,) float tensor.
        labels: (n,) integer tensor, places in the class names.
        masks: n run-length encodings as pycocotools has them, or None.
        mask_scores: (n,) float tensor, or None where boxes and masks have the same.
    """

    img_id: int | str
    ori_shape: tuple[int, int]
    bboxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    masks: Sequence[Mapping[str, Any]] | None = None
    mask_scores: torch.Tensor | None = None

    def take(self, indices: torch.Tensor) -> 'ImagePredictions':
        """The predictions at these places, in this order.

        Args:
            indices: (k,) integer tensor.
        """
        return replace(
            self,
            bboxes=self.bboxes[indices],
            scores=self.scores[indices],
            labels=self.labels[indices],
            masks=None if self.masks is None else [self.masks[index] for index in indices.tolist()],
            mask_scores=None if self.mask_scores is None else self.mask_scores[indices],
        )

    def as_sample(self) -> dict[str, Any]:
        """The dict that metrics of mmdet process."""
        found: dict[str, Any] = {'bboxes': self.bboxes, 'scores': self.scores, 'labels': self.labels}
        if self.masks is not None:
            found['masks'] = [dict(mask) for mask in self.masks]
        if self.mask_scores is not None:
            found['mask_scores'] = self.mask_scores
        return {'img_id': self.img_id, 'ori_shape': self.ori_shape, 'pred_instances': found}


def read_predictions(path: str | Path) -> list[ImagePredictions]:
    """Read the pickle of `tools/test.py --out`, mmdet's or ours (`DumpDetResults`).

    A tensor in a pickle is made by a function that loads anything; here only torch's restricted loading stands behind
    it. Whatever else the pickle names is refused.

    Args:
        path: Pickle file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It names what a prediction does not need, or is no list of predictions with boxes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file {path}; tools/test.py CONFIG CHECKPOINT --out {path} writes it.')
    content = load_restricted(path, _ALLOWED, 'tensors, arrays and plain containers')
    if not isinstance(content, list) or not content or not all(isinstance(item, dict) for item in content):
        raise ValueError(
            f'{path} is no list of predictions, one dict an image, as tools/test.py --out of mmdet 3.x writes it; '
            'results of mmdet 2.x (lists of arrays) cannot be read'
        )
    try:
        return list(_images(content, path))
    except (TypeError, AttributeError, KeyError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f'{path} holds predictions of another form than tools/test.py --out writes: {error}'
        ) from error


def _images(content: Sequence[Mapping[str, Any]], path: Path) -> Iterator[ImagePredictions]:
    seen = set()
    for place, item in enumerate(content):
        where = f'{path}, image {item.get("img_id", f"at place {place}")}'
        for key in ('img_id', 'ori_shape', 'pred_instances'):
            if key not in item:
                raise ValueError(f'{where}: lacks {key!r}, which every image of tools/test.py --out has')
        # The last batch of several ranks repeats images; mmengine cuts them off, other tools may not.
        if item['img_id'] in seen:
            raise ValueError(f'{where}: is there twice; store the predictions of one run over the data')
        seen.add(item['img_id'])
        pred = item['pred_instances']
        missing = [key for key in ('bboxes', 'scores', 'labels') if key not in pred]
        if missing:
            raise ValueError(f'{where}: pred_instances lacks {", ".join(missing)}')
        bboxes, scores, labels = (_tensor(pred[key]) for key in ('bboxes', 'scores', 'labels'))
        if bboxes.shape != (len(scores), 4) or labels.shape != scores.shape or scores.ndim != 1:
            shapes = ', '.join(str(tuple(tensor.shape)) for tensor in (bboxes, scores, labels))
            raise ValueError(f'{where}: bboxes, scores and labels must be (n, 4), (n,) and (n,), got {shapes}')
        shape = item['ori_shape']
        if len(shape) < 2 or not all(isinstance(side, int) and side > 0 for side in shape[:2]):
            raise ValueError(f'{where}: ori_shape must be height and width in pixels, got {shape!r:.60}')
        if labels.is_floating_point() or labels.is_complex():
            raise ValueError(f'{where}: labels must be whole numbers, got {labels.dtype}')
        if not (torch.isfinite(scores).all() and torch.isfinite(bboxes).all()):
            raise ValueError(f'{where}: has a score or a box that is not finite')
        yield ImagePredictions(
            img_id=item['img_id'],
            ori_shape=(int(shape[0]), int(shape[1])),
            bboxes=bboxes.float(),
            scores=scores.float(),
            labels=labels.long(),
            masks=pred.get('masks'),
            mask_scores=_tensor(pred['mask_scores']) if 'mask_scores' in pred else None,
        )


def _tensor(value: Any) -> torch.Tensor:
    value = array_of(value)
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))


def _rebuild(storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any) -> torch.Tensor:
    """Stands in for torch's own, which makes a storage longer where the tensor would reach beyond it."""
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if offset < 0 or any(number < 0 for number in (*size, *stride)) or (0 not in size and reach > storage._size()):
        raise pickle.UnpicklingError('it holds a tensor that reaches beyond its numbers')
    return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, *rest)


def _load_storage(raw: bytes) -> Any:
    """Stands in for `torch.storage._load_from_bytes`, which loads whatever is in the bytes."""
    return torch.load(io.BytesIO(raw), weights_only=True)


def _scalar(number_type: Any, raw: Any) -> Any:
    """Stands in for what numpy makes its scalars with."""
    return np.frombuffer(raw, number_type.dtype)[0].item()


_ALLOWED = {
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild,
    ('torch.storage', '_load_from_bytes'): _load_storage,
    ('numpy.core.multiarray', 'scalar'): _scalar,
}
