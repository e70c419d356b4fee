"""Mean and std of the training images of any config, and whether its data preprocessor fits them."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.mean_std import run_mean_std
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('--num', type=int, help='number of images, drawn at random (default: all)')
    parser.add_argument('--workers', type=int, help="processes that decode (default: the config's num_workers)")
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_mean_std(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
