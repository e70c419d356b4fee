"""Draw the chest phantom, train a plain and a relation detector on it, and compare them on one page."""

import argparse
import sys

from mmdet_ext.analysis.demo.demo import TRAIN, VAL, run_demo
from mmdet_ext.engine.cfg_options import CfgOptionsAction


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', default='work_dirs/demo', help='folder for the results (default: %(default)s)')
    parser.add_argument('--data', default='data/chest_phantom', help='folder of the phantom (default: %(default)s)')
    parser.add_argument('--train', type=int, default=TRAIN, help='number of training images (default: %(default)s)')
    parser.add_argument('--val', type=int, default=VAL, help='number of validation images (default: %(default)s)')
    parser.add_argument('--epochs', type=int, help="length of both trainings (default: the configs')")
    parser.add_argument('--fresh', action='store_true', help='train again where that was done')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptionsAction,
        metavar='KEY=VALUE',
        help='settings merged into both configs, e.g. train_dataloader.batch_size=4',
    )
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_demo(**vars(parse_args()))
    except (ValueError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('interrupted: the same command goes on from the last checkpoint')
