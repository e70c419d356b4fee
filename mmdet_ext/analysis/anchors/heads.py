"""The anchor generators of a config: which head has one, and what anchors it makes."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmdet.models.task_modules.prior_generators import AnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from mmdet_ext.datasets.problems import nearest

Floats = NDArray[np.float64]
KEY = 'anchor_generator'
KINDS = {kind.__name__: kind for kind in (AnchorGenerator, SSDAnchorGenerator, YOLOAnchorGenerator)}


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors of all levels, and the grids they stand on.

    Attributes:
        shapes: (A, 2) widths and heights.
        levels: (A,) number of the level of each.
        centres: (A, 2) centre x, y of each in the first cell.
        strides: (L, 2) step of each level in x and y.
    """

    shapes: Floats
    levels: NDArray[np.int64]
    centres: Floats
    strides: Floats

    def __len__(self) -> int:
        return len(self.shapes)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> 'AnchorGrid':
        """Anchors of a generator's config, as mmdet makes them."""
        init_default_scope('mmdet')
        built = TASK_UTILS.build(dict(options))
        bases = [base.double().numpy() for base in built.base_anchors]
        boxes = np.concatenate(bases)
        return cls(
            shapes=boxes[:, 2:] - boxes[:, :2],
            levels=np.repeat(np.arange(len(bases)), [len(base) for base in bases]),
            centres=(boxes[:, 2:] + boxes[:, :2]) / 2,
            strides=np.array(built.strides, np.float64),
        )


@dataclass(frozen=True)
class AnchorHead:
    """A head with an anchor generator.

    Attributes:
        key: Config key of the generator, such as 'model.rpn_head.anchor_generator'.
        options: The generator's config: the head's, or the default of its class.
        kind: Which of the three it is.
        pos_iou_thr: IoU from which the head's assigner takes an anchor as positive; 0.5 where none says so.
    """

    key: str
    options: dict[str, Any]
    kind: type
    pos_iou_thr: float


def find_anchor_head(cfg: Config, key: str | None = None) -> AnchorHead:
    """The head whose anchors are meant.

    Args:
        cfg: Config of a detector.
        key: Config key of a head or of its generator; None where there is only one.

    Raises:
        ValueError: There is no anchor generator, several and no key, none of that key, or one of another kind.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    found = dict(_generators(cfg.get('model'), 'model'))
    if not found:
        raise ValueError(
            f'{cfg.filename}: no head of the model has an {KEY}; a detector without anchors (FCOS, DETR, YOLOX, ...) '
            'has nothing to fit'
        )
    if key is None:
        if len(found) > 1:
            raise ValueError(f'{cfg.filename} has several heads with anchors: choose by --head {" or ".join(found)}')
        key = next(iter(found))
    if key not in found and f'{key}.{KEY}' in found:
        key = f'{key}.{KEY}'
    if key not in found:
        raise ValueError(f'--head {key}: the config has {", ".join(found)}{nearest(key, found)}')
    options = found[key]
    named = options.get('type')
    kind: Any = TASK_UTILS.get(named) if isinstance(named, str) else named
    if kind not in KINDS.values():
        raise ValueError(f'{key} is a {named}; anchors can be fitted for {", ".join(KINDS)}')
    return AnchorHead(key, dict(options), kind, _positive_threshold(cfg, key))


def _generators(node: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Generators below a node of the model's config, with their keys; a head's default is one, too."""
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from _generators(child, f'{where}.{index}')
    elif isinstance(node, Mapping):
        options = node.get(KEY)
        if options is None and 'head' in where:
            options = _default(node.get('type'))
        if isinstance(options, Mapping):
            yield f'{where}.{KEY}', options
        for name, child in node.items():
            if name != KEY:
                yield from _generators(child, f'{where}.{name}')


def _default(named: Any) -> Any:
    cls = MODELS.get(named) if isinstance(named, str) else named
    for base in getattr(cls, '__mro__', ()):
        if '__init__' in vars(base) and KEY in (parameters := inspect.signature(base.__init__).parameters):
            return parameters[KEY].default
        # A head that names its own arguments and sends no others on makes its priors in another way.
        if '__init__' in vars(base) and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
    return None


def _positive_threshold(cfg: Config, key: str) -> float:
    """`pos_iou_thr` of the assigner of a head; above 1 it means that only the best prior is positive."""
    root: Any = cfg.model
    # The detector of a semi-supervised wrapper, say.
    for part in key.split('.')[1:-1]:
        if 'train_cfg' in root or not isinstance(root.get(part), Mapping) or part.endswith('head'):
            break
        root = root[part]
    train_cfg = root.get('train_cfg') or {}
    if 'rpn_head' in key:
        train_cfg = train_cfg.get('rpn') or {}
    if isinstance(train_cfg, list | tuple):
        train_cfg = train_cfg[0]
    assigner = train_cfg.get('assigner')
    value = assigner.get('pos_iou_thr') if isinstance(assigner, Mapping) else None
    return float(value) if isinstance(value, int | float) and 0 < value <= 1 else 0.5
