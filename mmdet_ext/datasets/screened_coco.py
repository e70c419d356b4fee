"""COCO json of which a training leaves out the images of a list."""

from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from .problems import listing
from .screened_list import read_screened_list


@DATASETS.register_module()
class ScreenedCocoDataset(CocoDataset):
    """mmdet's CocoDataset without the images that a `screened.json` names; their annotation file stays as it is.

    It stands for the filtered annotation file of `tools/analysis_tools/screen_images.py` where runs with and without
    screening are compared: they read the same data, and `ablate.py` takes them into one table.

    Args:
        screened: List of images, a path from the current folder; None leaves out nothing.

    Raises:
        FileNotFoundError: The list is not there.
        ValueError: `test_mode`, for results on screened images say nothing; or the list is of other data.
    """

    def __init__(self, *args: Any, screened: str | None = None, **kwargs: Any) -> None:
        if screened is not None and kwargs.get('test_mode'):
            raise ValueError(
                f'ScreenedCocoDataset: screened={screened!r} and test_mode: leave the list out, for a detector is '
                'measured on all images'
            )
        self.screened = screened
        super().__init__(*args, **kwargs)

    def filter_data(self) -> list[dict]:
        """Leave out what the list names, then what `filter_cfg` does."""
        if self.screened is not None:
            left_out = {item['image_id']: item['file_name'] for item in read_screened_list(self.screened)['images']}
            # mmengine fills the list before it calls this.
            images: list[dict] = self.data_list  # type: ignore[has-type]
            names = {info['img_id']: info['img_path'] for info in images}
            strange = [key for key, name in left_out.items() if not names.get(key, '').endswith(name)]
            if strange:
                raise ValueError(
                    f'{self.screened} is of other data than {self.ann_file}: {len(strange)} of its {len(left_out)} '
                    f'images have another id or name there (image ids {listing(strange)}); screen that file anew'
                )
            self.data_list = [info for info in images if info['img_id'] not in left_out]
        return super().filter_data()
