"""From a trained detector to a file that runs without mmdet: ONNX, `torch.export`, `torch.compile`."""

from .detector import DeployedDetector, Detections, PlainDetector, check_exportable
from .onnx_file import export_onnx, read_metadata, trace

__all__ = [
    'DeployedDetector',
    'Detections',
    'PlainDetector',
    'check_exportable',
    'export_onnx',
    'read_metadata',
    'trace',
]
