"""Use an installed mmdet_ext as a stranger does, and print what came out as one line of JSON.

Runs in the environments of conftest.py. A fact is the outcome of one call, or the error it raised.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine import Config
from mmengine.hub import get_config, get_model

import mmdet_ext

FAMILY, NAME = 'relation_rcnn', 'relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'
PATH = f'mmdet_ext::{FAMILY}/{NAME}'
IMAGE = np.full((48, 64, 3), 127, dtype=np.uint8)


def child() -> Path:
    """A user's own config, anywhere, on one of ours."""
    path = Path('child.py')
    path.write_text(f'_base_ = {PATH!r}\nmodel = dict(roi_head=dict(bbox_head=dict(fc_out_channels=32)))\n')
    return path


def base() -> str:
    cfg = Config.fromfile(child())
    model = MODELS.build(cfg.model)
    return f'{type(model.roi_head).__name__} {model.roi_head.bbox_head.fc_out_channels} {cfg.default_scope}'


def detector(weights: str) -> str:
    model = init_detector(get_config(PATH), device='cpu', palette='random')
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': model.dataset_meta}}, weights)
    return type(inference_detector(model, IMAGE)).__name__


def inferencer(model: str | Path, weights: str | None, scope: str) -> str:
    found = DetInferencer(str(model), weights, device='cpu', scope=scope, show_progress=False)(IMAGE)['predictions']
    return ' '.join(sorted(found[0]))


def fact(call: Callable[[], str]) -> str:
    try:
        return call()
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def main(weights: str) -> None:
    folder = Path(mmdet_ext.__file__).parent
    configs = next(path for path in (folder / '.mim', folder.parent) if (path / 'configs').is_dir())
    facts = {
        'folder': str(folder),
        'base': fact(base),
        'get_config': fact(lambda: get_config(PATH).model.roi_head.type),
        'get_model': fact(lambda: type(get_model(PATH).roi_head).__name__),
        'init_detector': fact(lambda: detector(weights)),
        'path': fact(lambda: inferencer(configs / 'configs' / FAMILY / NAME, None, 'mmdet')),
        'name': fact(lambda: inferencer('probe', None, 'mmdet_ext')),
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main(sys.argv[1])
