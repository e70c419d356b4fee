"""What every look into a trained detector begins with: weights, the classes it learnt, images by their names."""

import copy
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device

from mmdet_ext.engine.checkpoint import check_weights


def load_detector(cfg: Config, checkpoint: str | Path) -> Any:
    """Build the detector of a config with trained weights, in evaluation mode, on the device at hand.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is of another model.
    """
    model: Any = MODELS.build(copy.deepcopy(cfg.model))  # some heads write into their config
    check_weights(model, checkpoint, strict=True)
    return model.to(get_device()).eval()


def learnt_classes(stored: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of the classes a checkpoint was trained on; None where it does not say."""
    classes = ((stored.get('meta') or {}).get('dataset_meta') or {}).get('classes')
    return None if classes is None else tuple(classes)


def name_places(dataset: Any) -> dict[str, int]:
    """Places of the images in a data set by id, file stem, file name and path.

    A name that is the id of one image and of the file of another is the id; of other namesakes it is the first.
    """
    ids: dict[str, int] = {}
    files: dict[str, int] = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = Path(info['img_path'])
        ids.setdefault(str(info['img_id']), index)
        for name in (path.stem, path.name, str(path)):
            files.setdefault(name, index)
    return files | ids


def no_such_image(name: str, known: Iterable[str], option: str, where: str) -> ValueError:
    """The error about an image that is not there, with the nearest name.

    Args:
        name: What was asked for.
        known: Names that are there.
        option: The command's option it was given by.
        where: The data, such as 'the test set'.
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f'; did you mean {near[0]}?' if near else ''
    return ValueError(f'{option}: {where} has no image with the file name or id {name}{hint}')
