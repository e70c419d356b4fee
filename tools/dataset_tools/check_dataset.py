"""Check the data of a config: annotation files, images, boxes, class names, heads; exit code 1 with errors."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` configs known)
from mmdet_ext.engine.cfg_options import CfgOptionsAction
from mmdet_ext.engine.check_report import report_problems


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--images', choices=('sample', 'all', 'none'), default='sample', help='which images to decode')
    parser.add_argument('--num-images', type=int, default=200, help='size of the sample of images of a large data set')
    parser.add_argument('--dataset', help='config whose loaders, evaluators and classes replace those of CONFIG')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptionsAction, help='override the config: key=value ...')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(report_problems(**vars(parse_args())))
