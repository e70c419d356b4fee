"""One table over trainings: config differences, seed, epochs, last and best metrics, versions."""

import argparse
import sys

from mmdet_ext.analysis.results_table import run_results_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', metavar='WORK_DIR', help='work directories, or folders above them')
    parser.add_argument('--metrics', nargs='+', default=(), help='columns (default: all with mAP in their name)')
    parser.add_argument('--sort', metavar='METRIC', help='sort the rows, best first (default: as given)')
    parser.add_argument('--out', help='folder for results.md, .csv and .json (default: only print)')
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_results_table(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
