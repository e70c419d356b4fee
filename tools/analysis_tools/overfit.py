"""Let a detector learn a few training images by heart: exit code 0 if it can, 2 with the likely cause if it cannot."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.overfit import run_overfit
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--num', type=int, default=8, help='number of images (default: %(default)s)')
    parser.add_argument('--iters', type=int, default=300, help='iterations at most (default: %(default)s)')
    parser.add_argument('--target', type=float, default=0.9, help='AP to be reached (default: %(default)s)')
    parser.add_argument('--work-dir', help='folder for log and curves (default: work_dirs/overfit/<config name>)')
    add_config_arguments(parser, 'optim_wrapper.optimizer.lr=1e-3')
    return parser.parse_args()


if __name__ == '__main__':
    try:
        reached = run_overfit(**vars(parse_args()))['reached']
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    sys.exit(0 if reached else 2)
