"""Draw what trainings have logged (losses, memory, speed, learning rate, metrics) and say what their losses tell."""

import argparse
import sys

from mmdet_ext.analysis.logs.loss_curves import run_loss_curves


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='of a training, or a scalars.json')
    parser.add_argument('--out', help='folder for picture, CSV and Markdown (default: loss_curves/ in the first one)')
    parser.add_argument('--interval', type=int, help='iterations of a mean (default: an epoch, at least 50)')
    parser.add_argument(
        '--epochs', type=int, default=5, help='over how many means the loss has to change (default: %(default)s)'
    )
    parser.add_argument(
        '--min-change', type=float, default=0.01, help='a smaller share is no change (default: %(default)s)'
    )
    parser.add_argument(
        '--share', type=float, default=0.9, help='from which share on a term is nearly all (default: %(default)s)'
    )
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_loss_curves(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
