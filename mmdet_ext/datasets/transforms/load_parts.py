"""Brings the part boxes of an image into the pipeline."""

import os
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from mmdet_ext.datasets.part_file import Boxes, check_part_names, part_boxes, read_part_file, unknown_parts
from mmdet_ext.datasets.problems import listing

Missing = Literal['error', 'invalid']


@TRANSFORMS.register_module()
class LoadParts(BaseTransform):
    """Load the part boxes of an image from a part file, or from the input itself.

    The image path is matched with the file names of the part file by its end, in whole folders, the longest wins:
    `/data/train/1.png` takes the entry `train/1.png` before `1.png`. Two files that would take the same entry are an
    error. An input dict that carries `parts={name: [x, y, w, h]}` is taken instead of the file:
    `DetInferencer(...)(dict(img=array, parts=...))`.

    Wants `ori_shape`, which LoadImageFromFile gives, so it stands behind that; before or behind geometric transforms is
    the same. Adds `part_boxes` ((P, 4) float32 xyxy in pixels of the original image), `part_valid` ((P,) bool) and
    `part_names`, which `PackPartInputs` turns into `data_sample.parts`.

    Args:
        part_file: Json `{file_name: {part: [x, y, w, h]}}`; None where every input carries its parts.
        part_names: P part names; relations and graphs refer to them. Other parts of the file are not used.
        missing: An image without parts is an 'error', or goes on with all parts 'invalid'. A single part that an entry
            lacks is always invalid.

    Raises:
        ValueError: A bad option, or an error in the part file (the first ones, one sentence each).
        FileNotFoundError: The part file does not exist.
    """

    def __init__(
        self, part_file: str | os.PathLike[str] | None, part_names: Sequence[str], missing: Missing = 'error'
    ) -> None:
        if missing not in get_args(Missing):
            raise ValueError(f"LoadParts: missing must be 'error' or 'invalid', got {missing!r}")
        self.part_file = part_file
        self.part_names = check_part_names(part_names)
        self.missing = missing
        self.table = None
        self._served: dict[str, str] = {}
        if part_file is None:
            return
        self.table, problems = read_part_file(part_file, self.part_names)
        errors = [str(problem) for problem in problems if problem.severity == 'error']
        if errors:
            kind = ValueError if os.path.exists(part_file) else FileNotFoundError
            raise kind('LoadParts: ' + '\n'.join(errors[:5]))

    def transform(self, results: dict) -> dict:
        """Add the part boxes of one image.

        Raises:
            ValueError: The image has no parts, an entry that another image has taken, or boxes outside of it.
        """
        if 'ori_shape' not in results:
            raise ValueError('LoadParts needs `ori_shape`: put it behind LoadImageFromFile in the pipeline')
        height, width = results['ori_shape'][:2]
        if results.get('parts') is not None:
            boxes = self._given(results['parts'], (width, height))
        else:
            boxes = self._looked_up(results.get('img_path'), (width, height))
        valid = np.isfinite(boxes[:, 0])
        results['part_boxes'] = np.where(valid[:, None], boxes, 0).astype(np.float32)
        results['part_valid'] = valid
        results['part_names'] = self.part_names
        return results

    def _given(self, parts: object, size: tuple[int, int]) -> Boxes:
        if not isinstance(parts, Mapping):
            raise ValueError(f'LoadParts: `parts` of the input must be {{name: [x, y, w, h]}}, got {parts!r:.80}')
        unknown = unknown_parts(parts, self.part_names)
        if unknown:
            raise ValueError(
                f'LoadParts: `parts` of the input names {unknown}, but part_names is {self.part_names}; correct the '
                'name, or leave out what the detector does not know'
            )
        boxes, problems = part_boxes({'input': parts}, self.part_names, {'input': size}, '`parts` of the input')
        errors = [str(problem) for problem in problems if problem.severity == 'error']
        if errors:
            raise ValueError('LoadParts: ' + '\n'.join(errors))
        return boxes[0]

    def _looked_up(self, path: str | None, size: tuple[int, int]) -> Boxes:
        key = self.table.find(path) if self.table is not None and path else None
        if self.table is None or not path or key is None:
            if self.missing == 'invalid':
                return np.full((len(self.part_names), 4), np.nan, dtype=np.float32)
            raise ValueError(self._no_parts(path))
        first = self._served.setdefault(key, os.path.abspath(path))
        if first != os.path.abspath(path):
            raise ValueError(
                f'LoadParts: the entry {key!r} of {self.part_file} fits two images, {first} and {path}; write the '
                'folders into the file names of the part file, or pass `parts` with the input'
            )
        boxes = self.table.boxes[self.table.rows[key]]
        limits = np.array(size) + 1
        outside = ((boxes[:, :2] < -1) | (boxes[:, 2:] > limits)).any(axis=1)
        if outside.any():
            names = [name for name, out in zip(self.part_names, outside, strict=True) if out]
            raise ValueError(
                f'LoadParts: boxes of {listing(names)} of {key!r} in {self.part_file} reach beyond the image {path} of '
                f'{size[0]}x{size[1]} pixels; part boxes are [x, y, width, height] in pixels of the original image'
            )
        return boxes

    def _no_parts(self, path: str | None) -> str:
        give = 'pass them with the input, `dict(img=..., parts={name: [x, y, w, h]})`'
        go_on = "or set missing='invalid' in LoadParts to go on without"
        if self.table is None:
            return f'LoadParts: the image {path or "array"} comes without `parts`, and there is no part_file; {give}'
        if not path:
            return f'LoadParts: an image that comes as an array has no name to look up in {self.part_file}; {give}'
        namesakes = self.table.namesakes(path)
        hint = f' (it has {listing(namesakes)}, in another folder)' if namesakes else ''
        return (
            f'LoadParts: {self.part_file} has no entry for the image {path}{hint}; add one '
            f'(tools/dataset_tools/masks2parts.py), {give}, {go_on}'
        )
