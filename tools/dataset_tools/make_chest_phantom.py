"""Draw the chest phantom: synthetic chest radiographs with boxes, masks and anatomical parts."""

import argparse
import sys

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.phantom_files import describe_phantom


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/chest_phantom', help='folder to write')
    parser.add_argument('--train', type=int, default=600, help='number of training images')
    parser.add_argument('--val', type=int, default=200, help='number of validation images')
    parser.add_argument('--size', type=int, default=160, help='side of the images in pixels')
    parser.add_argument('--seed', type=int, default=0, help='names the data set')
    parser.add_argument('--preview', action=argparse.BooleanOptionalAction, default=True, help='write a contact sheet')
    parser.add_argument('--overwrite', action='store_true', help='replace a phantom of other parameters')
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
