"""Write a detector into an ONNX file, with all that its user has to know in the file's metadata."""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .detector import DeployedDetector, PlainDetector
from .operators import MIN_OPSET, onnx_translations

# Batch and sides of the example where both may change: larger than any constant they could be taken for.
EXAMPLE_BATCH = 2
EXAMPLE_SIZE = (288, 352)
PREFIX = 'mmdet_ext.'


def example_inputs(detector: DeployedDetector, size: Sequence[int] | None = None) -> tuple[Tensor, ...]:
    """Inputs to trace with: `images`, and `part_boxes`, `part_valid` where there are parts.

    Args:
        detector: the detector.
        size: height and width; None: :data:`EXAMPLE_SIZE`.
    """
    height, width = size or EXAMPLE_SIZE
    images = torch.randint(0, 256, (EXAMPLE_BATCH, 3, height, width), dtype=torch.uint8)
    if not detector.with_parts:
        return (images,)
    number = len(detector.part_names)
    corner = torch.rand(EXAMPLE_BATCH, number, 2) * torch.tensor([width, height]) / 2
    boxes = torch.cat([corner, corner * 1.5 + 16], dim=-1)
    return images, boxes, torch.ones(EXAMPLE_BATCH, number, dtype=torch.bool)


def trace(
    detector: DeployedDetector | PlainDetector, size: Sequence[int] | None = None, static: bool = False
) -> torch.export.ExportedProgram:
    """The detector as `torch.export` sees it.

    Args:
        detector: with a fixed number of rows, or with as many as there are detections.
        size: height and width of the images; None: any.
        static: the batch has the size of the example, too. Only with `size`.

    Raises:
        ValueError: sides that are no positive numbers, `static` without them, or a detector that needs them.
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f'the size must be a height and a width in pixels, got {list(size)}')
    if static and size is None:
        raise ValueError('a static export needs the size of the images')
    deployed = detector.detector if isinstance(detector, PlainDetector) else detector
    inputs = example_inputs(deployed, size)
    dynamic = torch.export.Dim.DYNAMIC
    batch = {} if static else {0: dynamic}
    sides = {2: dynamic, 3: dynamic} if size is None else {}
    shapes = ({**batch, **sides}, batch, batch)[: len(inputs)]
    with torch.no_grad():
        try:
            return torch.export.export(detector, inputs, dynamic_shapes=shapes)
        except torch._dynamo.exc.UserError as error:
            if size is not None:
                raise
            raise ValueError(
                'this detector does not take images of every size, or not as far as torch.export can tell: give the '
                f'size (--size H W). It says: {str(error).splitlines()[0]}'
            ) from error


def describe(detector: DeployedDetector, classes: Sequence[str], **facts: Any) -> dict[str, Any]:
    """What the outside has to do and to know; the file's metadata holds it as JSON, under `mmdet_ext.<name>`.

    Args:
        detector: the detector.
        classes: names of its classes.
        facts: more entries.
    """
    prep = detector.model.data_preprocessor
    config = detector.model.test_cfg if detector.two_stage else detector.model.bbox_head.test_cfg
    picking = config.rcnn if detector.two_stage else config
    normalized = getattr(prep, '_enable_normalize', False)
    return {
        'classes': list(classes),
        'input': 'images (B, 3, H, W) uint8, loaded and resized as the test pipeline does, channels as loaded (BGR for '
        'LoadImageFromFile), neither normalised nor padded; all images of a batch have one size',
        'inside': 'change of channels, normalisation, padding, thresholds, NMS per class, the best max_per_img',
        'output': 'boxes (n, 4) xyxy in pixels of the input images, scores (n,), labels (n,), image (n,): which image '
        'of the batch; of an image by falling score. Divide boxes by the scale factor of the resize.',
        'mean': prep.mean.flatten().tolist() if normalized else None,
        'std': prep.std.flatten().tolist() if normalized else None,
        'swaps_channels': bool(getattr(prep, '_channel_conversion', False)),
        'pad_size_divisor': int(getattr(prep, 'pad_size_divisor', 1)),
        'score_thr': float(picking.get('score_thr', 0)),
        'iou_threshold': float(picking.nms.iou_threshold),
        'max_per_img': int(picking.get('max_per_img', -1)),
        'part_names': list(detector.part_names),
        'num_keypoints': detector.num_keypoints,
        **facts,
    }


def _name_shapes(model: Any, detector: DeployedDetector, static: bool) -> None:
    """Names of axes that a reader understands, for the symbols of the tracer."""
    names: dict[str, str] = {}
    wanted = [] if static else ['batch']
    for place, name in enumerate([*wanted, *[''] * (1 - len(wanted)), 'channels', 'height', 'width']):
        symbol = model.graph.inputs[0].shape[place]
        if name and not isinstance(symbol, int):
            names[str(symbol.value)] = name
    names[str(model.graph.outputs[0].shape[0].value)] = 'detections'
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        for place, symbol in enumerate(value.shape or ()):
            text = None if isinstance(symbol, int) else symbol.value
            if text in names:
                value.shape[place] = names[text]


def export_onnx(
    model: Any,
    file: str | Path,
    classes: Sequence[str],
    size: Sequence[int] | None = None,
    opset: int = MIN_OPSET,
    static: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a detector to an ONNX file that onnxruntime runs without any operator of its own.

    The way is torch's current exporter, by `torch.export`. Of its optimiser only folding of constants is used:
    onnxruntime does the rest when it loads a file, and the rewriter takes five times as long as all else.

    Args:
        model: a detector that :func:`.detector.check_exportable` lets pass, on the CPU; it is copied, not changed.
        file: where to write; weights of more than 2 GB go to a file beside it.
        classes: names of its classes.
        size: height and width; None: every size that the detector takes.
        opset: version of the operators, 18 or later.
        static: batches are of one size, see :func:`trace`.
        facts: more entries of the metadata.

    Returns:
        The metadata.

    Raises:
        ValueError: a detector that cannot be exported, a size or an opset that cannot be.
        ImportError: onnxscript is not installed.
    """
    translations = onnx_translations(opset)
    import onnxscript

    detector = DeployedDetector(copy.deepcopy(model).eval().requires_grad_(False))
    program = trace(PlainDetector(detector), size, static)
    names = ['boxes', 'scores', 'labels', 'image'] + ['keypoints'] * (detector.num_keypoints > 0)
    inputs = ['images', 'part_boxes', 'part_valid'] if detector.with_parts else ['images']
    written: Any = torch.onnx.export(
        program,
        opset_version=opset,
        custom_translation_table=translations,
        dynamo=True,
        optimize=False,
        verbose=False,
        input_names=inputs,
        output_names=names,
    )
    onnxscript.optimizer.fold_constants(written.model)
    onnxscript.optimizer.remove_unused_nodes(written.model)
    _name_shapes(written.model, detector, static)
    metadata = describe(detector, classes, input_size=list(size) if size else None, opset=opset, **(facts or {}))
    for name, value in metadata.items():
        written.model.metadata_props[PREFIX + name] = json.dumps(value)
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    written.save(path)
    return metadata


def read_metadata(props: Mapping[str, str]) -> dict[str, Any]:
    """What :func:`export_onnx` stored, from the metadata of a file (`get_modelmeta().custom_metadata_map`)."""
    return {key.removeprefix(PREFIX): json.loads(value) for key, value in props.items() if key.startswith(PREFIX)}
