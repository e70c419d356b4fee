"""Try which detectors export, and store the answers for the table of tools/deployment/README.md."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.deployment.support import WAYS, run_support


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files; CONFIG@DATA takes the test data of another config')
    parser.add_argument('--out', default='benchmarks/deployment.json', help='the file that holds all answers')
    parser.add_argument('--ways', nargs='+', default=WAYS, help='what to try')
    parser.add_argument('--num', type=int, default=3, dest='number', help='number of images')
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_support(**vars(parse_args()))
    except (FileNotFoundError, ImportError, ValueError) as error:
        sys.exit(f'error: {error}')
