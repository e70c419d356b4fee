"""Table what the ranks of a training send each other in a step: DDP, FSDP, and the counts of losses and heads."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.communication import run_communication
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='config files')
    parser.add_argument(
        '--ranks', nargs='+', type=int, default=(8, 64), metavar='N', help='numbers of GPUs (default: 8 64)'
    )
    parser.add_argument(
        '--link',
        type=float,
        default=12.5,
        metavar='GB/S',
        help='what a GPU can send, in GB/s; 12.5 is 100 Gbit/s (default: %(default)s)',
    )
    parser.add_argument('--out', metavar='FILE', help='.json file for the figures')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_communication(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
