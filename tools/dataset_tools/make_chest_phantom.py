"""Draw the chest phantom: synthetic chest radiographs with boxes, masks and anatomical parts."""

import argparse
import sys

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.phantoms.phantom_arguments import add_phantom_arguments
from mmdet_ext.datasets.phantoms.phantom_files import describe_phantom


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_phantom_arguments(parser, out='data/chest_phantom', size=160)
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    try:
        info = make_chest_phantom(**args)
    except ValueError as error:
        sys.exit(f'error: {error}')
    print(describe_phantom(info, args['out']))


if __name__ == '__main__':
    main()
