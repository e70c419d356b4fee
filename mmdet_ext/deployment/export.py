"""The command: config and checkpoint in, ONNX file out, compared with torch on real images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tabulate import tabulate

from mmdet_ext.engine.checkpoint import check_weights, read_checkpoint
from mmdet_ext.engine.launch import load_config

from .onnx_file import export_onnx
from .operators import MIN_OPSET
from .parity import BOX_TOL, SCORE_TOL, Parity, verify


def open_session(file: str | Path) -> Any:
    """An onnxruntime session of a file, on the CPU.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            'running an ONNX file needs onnxruntime: pip install -r requirements/optional.txt installs it'
        ) from error
    return onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])


def class_names(cfg: Config, checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of the classes, from the checkpoint where it has them, else from the config's test data.

    Raises:
        ValueError: neither says.
    """
    stored = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
    if stored is not None:
        return list(stored)
    data = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    given = (data.get('metainfo') or {}).get('classes')
    kind = DATASETS.get(data['type']) if given is None and data.get('type') else None
    found = given or getattr(kind, 'METAINFO', {}).get('classes')
    if not found:
        raise ValueError(
            f'neither the checkpoint nor the test data of {cfg.filename} name their classes: set '
            'test_dataloader.dataset.metainfo.classes'
        )
    return list(found)


def image_pipeline(cfg: Config) -> list[dict[str, Any]]:
    """Configs of the transforms that a test image passes.

    Raises:
        ValueError: the config has none.
    """
    data = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in data:  # wrappers, such as RepeatDataset
        data = data['dataset']
    if not data.get('pipeline'):
        raise ValueError(f'{cfg.filename} has no test_dataloader.dataset.pipeline, by which images are loaded')
    return list(data['pipeline'])


def format_parity(results: Sequence[Parity]) -> str:
    """One line per image."""
    rows = [
        [
            row.image,
            *row.numbers,
            row.matched,
            row.unmatched,
            row.box_error,
            row.score_error,
            'yes' if row.same else 'NO',
        ]
        for row in results
    ]
    heads = ['image', 'torch', 'onnx', 'the same', 'unmatched', 'box error, px', 'score error', 'passes']
    return tabulate(rows, heads, floatfmt='.1e')


def run_export(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    size: Sequence[int] | None = None,
    opset: int = MIN_OPSET,
    verify_images: Sequence[str | Path] = (),
    cfg_options: Mapping[str, Any] | None = None,
) -> list[Parity]:
    """Export a trained detector, print what the file takes and gives, and compare it with torch.

    Args:
        config: config file.
        checkpoint: the weights.
        out: the ONNX file.
        size: height and width of the images; None: any.
        opset: see :func:`.onnx_file.export_onnx`.
        verify_images: paths of images to run through both.
        cfg_options: dotted key to value, merged into the config.

    Returns:
        The comparison, image by image.

    Raises:
        FileNotFoundError: config, checkpoint or image is missing.
        ImportError: onnxscript, or for `verify_images` onnxruntime, is not installed.
        ValueError: the detector cannot be exported, the checkpoint is of another model, or detections differ.
    """
    cfg = load_config(config, cfg_options=cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    stored = read_checkpoint(checkpoint)
    model = MODELS.build(cfg.model)
    check_weights(model, checkpoint, strict=True)
    model.eval()
    pipeline = image_pipeline(cfg)
    facts = dict(
        config=Path(cfg.filename).name,
        checkpoint=Path(checkpoint).name,
        resize=next((dict(step) for step in pipeline if 'Resize' in str(step['type'])), None),
    )
    metadata = export_onnx(model, out, class_names(cfg, stored), size, opset, facts=facts)
    session = open_session(out) if verify_images else None
    for name, value in metadata.items():
        print(f'{name}: {value}')
    print(f'written: {out} ({Path(out).stat().st_size / 2**20:.1f} MB)')
    if session is None:
        return []
    results = verify(session, model, pipeline, verify_images, metadata['part_names'])
    print(format_parity(results))
    failed = [row.image for row in results if not row.same]
    if failed:
        raise ValueError(
            f'onnxruntime and torch find different things (more than {BOX_TOL} pixels or {SCORE_TOL} of score apart) '
            f'in {", ".join(failed)}'
        )
    return results
