"""Fit the anchors of any detector to its training data: clusters, best possible recall, and a config that has them."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.anchors.search import THRESHOLDS, run_anchor_search
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--head', metavar='KEY', help='config key of the head, where several have anchors')
    parser.add_argument(
        '--distance',
        choices=('iou', 'euclid'),
        default='iou',
        help='of the clusters: 1 - IoU of shapes, or distance of widths and heights (default: %(default)s)',
    )
    parser.add_argument(
        '--centre',
        choices=('mean', 'median'),
        default='mean',
        help='of clusters and fit; a few huge boxes do not move a median (default: %(default)s)',
    )
    parser.add_argument('--keep-base-sizes', action='store_true', help='AnchorGenerator: fit scales and ratios alone')
    parser.add_argument(
        '--iou-thr',
        dest='iou_thrs',
        nargs='+',
        type=float,
        default=THRESHOLDS,
        help='thresholds of the recall columns (default: %(default)s)',
    )
    parser.add_argument('--num', type=int, help='number of training images, drawn at random (default: all)')
    parser.add_argument(
        '--augmented',
        action='store_true',
        help='run the whole training pipeline, images and all, instead of scaling the annotated boxes',
    )
    parser.add_argument('--seed', type=int, default=0, help='of everything random (default: %(default)s)')
    parser.add_argument('--starts', type=int, default=5, help='starts of the clusters (default: %(default)s)')
    parser.add_argument(
        '--iterations', type=int, default=100, help='at most, of clusters and fit (default: %(default)s)'
    )
    parser.add_argument(
        '--out', help='folder for config, tables and picture (default: work_dirs/anchors/<config name>)'
    )
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_anchor_search(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
