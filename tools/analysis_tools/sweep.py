"""Score stored predictions (tools/test.py --out) again over thresholds, top-k and NMS, without another forward pass."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.sweep.sweep import SCORE_THRS, TOP_KS, run_sweep
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config the predictions were made with')
    parser.add_argument('predictions', metavar='RESULTS.pkl', help='of tools/test.py --out')
    parser.add_argument(
        '--score-thr',
        dest='score_thrs',
        nargs='+',
        type=float,
        default=SCORE_THRS,
        help='boxes with a score at or below it are dropped (default: %(default)s)',
    )
    parser.add_argument(
        '--top-k', dest='top_ks', nargs='+', type=int, default=TOP_KS, help='boxes per image (default: %(default)s)'
    )
    parser.add_argument(
        '--nms-iou', dest='nms_ious', nargs='+', type=float, default=(), help='thresholds of one more NMS'
    )
    parser.add_argument('--out', help='folder for table and plot (default: RESULTS_sweep beside the pickle)')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_sweep(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
