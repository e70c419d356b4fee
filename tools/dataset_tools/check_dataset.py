"""Check the data of a config: annotation files, images, boxes, class names, heads; exit code 1 with errors."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` configs known)
from mmdet_ext.engine.check_report import report_problems
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--images', choices=('sample', 'all', 'none'), default='sample', help='which images to decode')
    parser.add_argument('--num-images', type=int, default=200, help='size of the sample of images of a large data set')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(report_problems(**vars(parse_args())))
