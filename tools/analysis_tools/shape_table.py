"""Table a detector's modules: output shapes for an image of the config's size, parameters, and operations if wanted."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.shape_table import run_shape_table
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'), help="of the image (default: the config's)"
    )
    parser.add_argument('--batch', type=int, default=1, help='number of images (default: %(default)s)')
    parser.add_argument(
        '--depth', type=int, help='levels below the model; 1 is backbone, neck and heads (default: all)'
    )
    parser.add_argument('--name', metavar='REGEX', help='only modules in whose name it is found')
    parser.add_argument(
        '--device',
        choices=('cpu', 'cuda', 'meta'),
        default='cpu',
        help='meta computes nothing: quick, for detectors of one stage (default: %(default)s)',
    )
    parser.add_argument('--flops', action='store_true', help="mmengine's count of operations, too")
    parser.add_argument('--out', metavar='FILE', help='.md or .csv file for the table')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_shape_table(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
