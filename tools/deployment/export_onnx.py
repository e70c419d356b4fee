"""Write a trained detector into an ONNX file, from raw images to detections, and compare it with torch."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.deployment.export import run_export
from mmdet_ext.deployment.operators import MIN_OPSET
from mmdet_ext.engine.config_arguments import add_cfg_options


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, metavar='FILE.onnx', help='the file to write')
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='height and width of the images (default: any)'
    )
    parser.add_argument('--opset', type=int, default=MIN_OPSET, help='version of the operators (default: %(default)s)')
    parser.add_argument(
        '--verify',
        nargs='+',
        default=[],
        dest='verify_images',
        metavar='IMAGE',
        help='run these images through onnxruntime and torch; an error where the detections differ',
    )
    add_cfg_options(parser, 'model.test_cfg.rcnn.score_thr=0.1')
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_export(**vars(parse_args()))
    except (FileNotFoundError, ImportError, ValueError) as error:
        sys.exit(f'error: {error}')
