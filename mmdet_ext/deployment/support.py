"""What exports and what does not: every family of detectors tried, as figures."""

import copy
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmdet_ext.utils.provenance import collect_versions, find_commit

from .detector import DeployedDetector, Detections, check_exportable
from .export import open_session
from .onnx_file import export_onnx, trace
from .parity import Found, Parity, compare, onnx_feed, run_onnx, run_torch
from .support_table import WAYS

# Two units in the last place of float32.
NEAR = 2.4e-7


@dataclass
class Trial:
    """How one way to run a detector went.

    works: whether its detections are those of torch.
    why: a sentence where it does not, and whatever else there is to say.
    box_error: largest difference of a coordinate, pixels.
    score_error: largest difference of a score.
    matched: detections that are the same, of `total` that torch found.
    total: see `matched`.
    seconds: that the export or the first call took.
    """

    works: bool
    why: str = ''
    box_error: float = 0.0
    score_error: float = 0.0
    matched: int = 0
    total: int = 0
    seconds: float = 0.0


def spread_weights(model: nn.Module, seed: int = 0) -> None:
    """Random weights under which scores differ, as they do after training and do not at the start of it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5, generator=generator)
            elif name.endswith('bias'):
                weight.normal_(std=0.1, generator=generator)


def nearby(model: nn.Module) -> nn.Module:
    """The model with every weight :data:`NEAR` of itself away: what a rounding error makes of it."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.parameters():
            sign = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
            weight.mul_(1 + NEAR * sign)
    return other


def detector_inputs(data: Mapping[str, Any], part_names: Sequence[str]) -> tuple[Tensor, ...]:
    """Inputs of a :class:`.detector.DeployedDetector` for one image as the test pipeline packed it."""
    return tuple(torch.from_numpy(value) for value in onnx_feed(data, part_names).values())


def first_image(found: Detections) -> Found:
    """Detections of the first image of the batch."""
    own = found.labels[0] >= 0
    keypoints = None if found.keypoints is None else found.keypoints[0][own].numpy()
    return Found(found.boxes[0][own].numpy(), found.scores[0][own].numpy(), found.labels[0][own].numpy(), keypoints)


def _summary(results: Sequence[Parity], seconds: float, why: str) -> Trial:
    return Trial(
        all(result.same for result in results),
        why,
        max(result.box_error for result in results),
        max(result.score_error for result in results),
        sum(result.matched for result in results),
        sum(result.numbers[0] for result in results),
        round(seconds, 1),
    )


def try_way(way: str, model: Any, samples: Sequence[Mapping[str, Any]], backend: str = 'inductor') -> Trial:
    """Run a detector in one way, on images of one size, and compare with mmdet's own.

    Args:
        way: one of `WAYS`.
        model: the detector, in evaluation mode.
        samples: images as the test pipeline packed them.
        backend: of `torch.compile`.
    """
    start, why = time.monotonic(), ''
    run: Any
    try:
        check_exportable(model)
        detector = DeployedDetector(model)
        if way == 'onnx':
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, 'model.onnx')
                try:
                    export_onnx(model, file, ['?'])
                except ValueError:
                    export_onnx(model, file, ['?'], samples[0]['inputs'].shape[1:])
                    why = 'only with --size, the detector does not take images of every size'
                session = open_session(file)

            def run(data: Mapping[str, Any]) -> Found:
                return run_onnx(session, onnx_feed(data, detector.part_names))[0]
        else:
            if way == 'torch.export':
                size = tuple(samples[0]['inputs'].shape[1:])
                function: Any = trace(detector, size).module()
            else:
                torch._dynamo.reset()
                function = torch.compile(detector, fullgraph=True, backend=backend)

            def run(data: Mapping[str, Any]) -> Found:
                with torch.no_grad():
                    return first_image(Detections(*function(*detector_inputs(data, detector.part_names))))

        found = [run(samples[0])]
        seconds = time.monotonic() - start
        found += [run(data) for data in samples[1:]]
    except Exception as error:  # whatever an exporter raises is the answer
        lines = str(error).strip().splitlines() or ['']
        return Trial(False, f'{lines[0]}' if isinstance(error, ValueError) else f'{type(error).__name__}: {lines[0]}')
    picking = model.test_cfg.get('rcnn', model.test_cfg)
    limits = picking.get('max_per_img', -1), picking.get('score_thr', 0)
    results = [compare('', run_torch(model, data), own, *limits) for data, own in zip(samples, found, strict=True)]
    if not all(result.same for result in results):
        near = [compare('', run_torch(model, data), run_torch(nearby(model), data), *limits) for data in samples]
        same, total = (sum(values) for values in zip(*((own.matched, own.numbers[0]) for own in near), strict=True))
        why = f'the detections are not those of torch, which finds {same} of {total} again with weights {NEAR:g} away'
    return _summary(results, seconds, why)


def load_samples(cfg: Config, number: int) -> list[dict[str, Any]]:
    """The first images of the test data that have one size, as its pipeline packs them."""
    dataset = DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset))
    samples: list[dict[str, Any]] = []
    for index in range(len(dataset)):
        data = dataset[index]
        if not samples or data['inputs'].shape == samples[0]['inputs'].shape:
            samples.append(data)
        if len(samples) == number:
            break
    return samples


def borrow_data(cfg: Config, data: str | Path) -> Config:
    """The config of other data, whose test images are resized as `cfg` resizes its own."""
    other = Config.fromfile(data)
    pipelines = [source.test_dataloader.dataset.pipeline for source in (cfg, other)]
    (resize,) = [step for step in pipelines[0] if 'Resize' in step.type]
    other.test_dataloader.dataset.pipeline = [resize if 'Resize' in step.type else step for step in pipelines[1]]
    return other


def try_config(
    config: str | Path,
    data: str | Path | None = None,
    ways: Sequence[str] = WAYS,
    number: int = 3,
    backend: str = 'inductor',
    small: Any = None,
) -> dict[str, Any]:
    """A row of the table: a detector with random weights, tried in every way on images of its test data.

    Args:
        config: config file, or one of an installed package such as `mmdet::ssd/ssd300_coco.py`.
        data: config whose test data are taken instead, see :func:`borrow_data`.
        ways: of `WAYS`.
        number: of images.
        backend: of `torch.compile`.
        small: a function that makes the config smaller, for tests.
    """
    cfg = get_config(config) if '::' in str(config) else Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if small is not None:
        cfg = small(cfg)
    samples = load_samples(cfg if data is None else borrow_data(cfg, data), number)
    boxes_only = bool((cfg.model.get('roi_head') or {}).get('mask_head'))
    if boxes_only:
        cfg.model.roi_head.update(mask_head=None, mask_roi_extractor=None)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    spread_weights(model)
    head = getattr(model, 'roi_head', getattr(model, 'bbox_head', None))
    box_head = getattr(head, 'bbox_head', None)
    kinds = [type(model).__name__, type(head).__name__]
    if isinstance(box_head, nn.Module) and not isinstance(box_head, nn.ModuleList):
        kinds.append(type(box_head).__name__)
    trials = {way: asdict(try_way(way, model, samples, backend)) for way in ways}
    for trial in trials.values():
        if boxes_only and trial['works']:
            trial['why'] = 'boxes only, the mask branch was left out (model.roi_head.mask_head=None)'
    return dict(config=str(config), detector=' / '.join(kinds), size=list(samples[0]['inputs'].shape[1:]), **trials)


def run_support(configs: Sequence[str], out: str | Path, ways: Sequence[str] = WAYS, number: int = 3) -> dict[str, Any]:
    """Try configs and store what came of it; rows of configs that are not named stay as they are in the file.

    Args:
        configs: config files, each possibly with `@DATA`, the config whose test data to use.
        out: the JSON file.
        ways: of `WAYS`.
        number: of images.

    Raises:
        ValueError: a way that there is not.
    """
    unknown = set(ways) - set(WAYS)
    if unknown:
        raise ValueError(f'ways {sorted(unknown)} are not among {list(WAYS)}')
    path = Path(out)
    stored = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
    rows = {row['config']: row for row in stored.get('rows', [])}
    import onnxruntime

    for name in configs:
        config, _, data = name.partition('@')
        row = try_config(config, data or None, ways, number)
        rows[config] = {**rows.get(config, {}), **row}
        print(
            f'{config}: '
            + ', '.join(f'{way} {"yes" if row[way]["works"] else "no: " + row[way]["why"]}' for way in ways)
        )
        versions = {**collect_versions(), 'onnxruntime': onnxruntime.__version__}
        stored = dict(versions=versions, commit=find_commit(), rows=list(rows.values()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored, indent=1) + '\n', encoding='utf-8')
    return stored
