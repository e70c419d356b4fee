"""A detector run once on a random image, and what every module of it gave."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import BaseBoxes
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from mmdet_ext.engine.dataset_spec import option, transform_name

from .train_set import loader_transforms

# Parts of a list or dict that are spelt out.
_PARTS = 6
_PROPOSALS = 100


def config_size(cfg: Config) -> tuple[int, int]:
    """Height and width that a config resizes its images to, those for testing first; lying where the ratio is free.

    Raises:
        ValueError: No transform says so.
    """
    for split in ('test', 'val', 'train'):
        for node in loader_transforms(cfg, split):
            size = _resized_size(node) if 'Resize' in transform_name(node) else None
            if size is not None:
                return size
    raise ValueError(f'{cfg.filename}: no Resize of its pipelines names the size of an image; give --size HEIGHT WIDTH')


def _resized_size(node: Any) -> tuple[int, int] | None:
    if option(node, 'width') and option(node, 'height'):
        return option(node, 'height'), option(node, 'width')
    scale = option(node, 'scale') or option(node, 'scales')
    if isinstance(scale, list) and scale and isinstance(scale[0], list | tuple):
        scale = max(scale, key=lambda pair: pair[0] * pair[1])
    if isinstance(scale, int):
        # The short side alone, or both.
        longer = option(node, 'max_size') if transform_name(node) == 'ResizeShortestEdge' else scale
        scale = (longer or round(scale * 4 / 3), scale)
    if not isinstance(scale, list | tuple) or len(scale) != 2 or not all(0 < side < 1e5 for side in scale):
        return None
    width, height = (int(side) for side in scale)
    return (min(width, height), max(width, height)) if option(node, 'keep_ratio') else (height, width)


def build_model(cfg: Config, device: str) -> nn.Module:
    """The config's model for inference, with random weights; on 'meta' it takes no memory.

    Raises:
        FileNotFoundError: The model reads a file that is not there.
        ValueError: It cannot be built.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        with torch.device('cpu' if device == 'cuda' else device):
            model = MODELS.build(cfg.model)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f'the model of {cfg.filename} cannot be built: {_first_line(error)}') from error
    model = revert_sync_batchnorm(model).eval()
    return model.to(device) if device == 'cuda' else model


def make_inputs(
    cfg: Config, model: nn.Module, size: tuple[int, int], batch: int, device: str
) -> tuple[Tensor, list[DetDataSample]]:
    """Random images, padded as the data preprocessor pads, and samples with whatever a detector may ask for.

    Args:
        cfg: Config; from its pipelines come the names of parts.
        model: For its `data_preprocessor`.
        size: Height and width.
        batch: Number of images.
        device: Of the images.
    """
    divisor = getattr(getattr(model, 'data_preprocessor', None), 'pad_size_divisor', 1)
    padded = tuple(-(-side // divisor) * divisor for side in size)
    generator = torch.Generator().manual_seed(0)
    meta = dict(
        img_id=0, img_path='a random image', ori_shape=size, img_shape=size, pad_shape=padded, batch_input_shape=padded,
        scale_factor=(1.0, 1.0), flip=False, flip_direction=None, border=(0, size[0], 0, size[1]), text='object . ',
        custom_entities=True,
    )  # fmt: skip
    loads = (node for split in ('test', 'train') for node in loader_transforms(cfg, split))
    parts = next((option(node, 'part_names') for node in loads if transform_name(node) == 'LoadParts'), ())
    samples = []
    for _ in range(batch):
        sample = DetDataSample(metainfo=meta)
        # Fast R-CNN has no proposals of its own.
        sample.proposals = InstanceData(
            bboxes=_boxes(_PROPOSALS, size, generator), scores=torch.rand(_PROPOSALS, generator=generator)
        )
        if parts:
            sample.parts = InstanceData(
                bboxes=_boxes(len(parts), size, generator), valid=torch.ones(len(parts), dtype=torch.bool)
            )
            sample.set_metainfo(dict(part_names=tuple(parts)))
        samples.append(sample)
    if device == 'meta':
        return torch.empty(batch, 3, *padded, device='meta'), samples
    images = torch.randn(batch, 3, *padded, generator=generator)
    return images.to(device), [sample.to(device) for sample in samples]


def _boxes(num: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Random xyxy boxes inside an image."""
    corners = torch.rand(num, 2, 2, generator=generator).sort(1).values
    return (corners * torch.tensor([size[1], size[0]], dtype=torch.float32)).reshape(num, 4)


def record_outputs(model: nn.Module, images: Tensor, samples: list[DetDataSample]) -> tuple[dict[str, list[str]], str]:
    """What every module gave, call by call, by its name ('' is the model), and the mode in which the model was run.

    The mode is 'tensor', or 'predict' where that fails, as some detectors have never been run in it.

    Raises:
        ValueError: Both fail; on 'meta' all detectors do that look at values (NMS of proposals, say).
    """
    errors: list[Exception] = []
    for mode in ('tensor', 'predict'):
        try:
            with _recorded(model) as outputs, torch.no_grad():
                model(images, [sample.clone() for sample in samples], mode=mode)
        except Exception as error:  # noqa: PERF203  (two rounds)
            errors.append(error)
        else:
            return outputs, mode
    message = _first_line(errors[-1])
    hint = 'is it a detector of single images, and is the size one that it takes (--size)?'
    if images.device.type == 'meta':
        hint = 'on the meta device a detector must not look at values (NMS of proposals, say): use --device cpu'
    elif 'implementation for device' in message:
        hint = 'one of its operators runs on a GPU only: use --device cuda'
    raise ValueError(f'the model cannot be run on a random image ({message}); {hint}') from errors[-1]


@contextlib.contextmanager
def _recorded(model: nn.Module) -> Iterator[dict[str, list[str]]]:
    """Note the outputs of all modules; hooks would miss those whose `forward` is called by name, as heads' often is."""
    outputs: dict[str, list[str]] = {}
    before = []
    for name, module in model.named_modules():
        before.append((module, vars(module).get('forward')))
        module.forward = _noting(module.forward, outputs.setdefault(name, []))
    try:
        yield outputs
    finally:
        for module, own in before:
            del module.forward
            if own is not None:
                module.forward = own


def _noting(forward: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        calls.append(describe(output))
        return output

    return call


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def describe(value: Any) -> str:
    """Shapes of tensors, as `1x256x100x152`, in whatever holds them: lists, dicts, instances."""
    if isinstance(value, BaseBoxes):
        value = value.tensor
    if isinstance(value, Tensor):
        return 'x'.join(map(str, value.shape)) or 'scalar'
    if isinstance(value, BaseDataElement):
        return f'{type(value).__name__} {describe(dict(value.items()))}'
    if isinstance(value, Mapping):
        return f'{{{_listed([f"{key}: {describe(child)}" for key, child in value.items()])}}}'
    if isinstance(value, list | tuple):
        return f'[{_listed([describe(child) for child in value])}]'
    return '–' if value is None else type(value).__name__


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _PARTS
    return ', '.join(parts[:_PARTS]) + (f', and {more} more' if more > 0 else '')


def count_flops(model: nn.Module, images: Tensor, samples: list[DetDataSample]) -> dict[str, float] | str:
    """Operations of every module with all below it, by mmengine's count (a multiplication with its addition is one).

    Returns:
        By name of the module; or the sentence that says why there are none.
    """
    forward = model.forward

    def traced(inputs: Tensor) -> Any:
        return forward(inputs, [sample.clone() for sample in samples], mode='tensor')

    model.forward = traced
    analyzer = FlopAnalyzer(model, (images,))
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    try:
        with torch.no_grad():
            return {name: float(number) for name, number in analyzer.by_module().items()}
    except Exception as error:
        return f'mmengine cannot count the operations of this model ({_first_line(error)}).'
    finally:
        del model.forward  # the class's own is behind it
