"""Disturb the relations of a trained detector, measure what becomes of it, and draw what they have learnt."""

import argparse
import shlex
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.relation_probe.probe import SEEDS, THRESHOLD, run_probe
from mmdet_ext.engine.config_arguments import add_cfg_options


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--num', type=int, help='number of images of the test set, the first ones (default: all)')
    parser.add_argument(
        '--images',
        nargs='+',
        default=[],
        help='file names or ids of images to draw (default: the first with several detections)',
    )
    parser.add_argument('--out', default='work_dirs/relation_probe', help='folder of the report (default: %(default)s)')
    parser.add_argument('--stage', type=int, help='stage of a cascade (default: the last one with relations)')
    parser.add_argument('--seeds', type=int, nargs='+', default=SEEDS, help='of what is random (default: 0 1 2)')
    parser.add_argument(
        '--threshold', type=float, default=THRESHOLD, help='change of AP that matters (default: %(default)s)'
    )
    add_cfg_options(parser, 'model.test_cfg.rcnn.score_thr=0.1')
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_probe(**vars(parse_args()), command=shlex.join(['python', *sys.argv]))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f'error: {error}')
