"""Draw the face phantom: synthetic pictures of faces with boxes and five landmarks."""

import argparse
import sys

from mmdet_ext.datasets.face_phantom import make_face_phantom
from mmdet_ext.datasets.phantoms.phantom_arguments import add_phantom_arguments
from mmdet_ext.datasets.phantoms.phantom_files import describe_phantom


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_phantom_arguments(parser, out='data/face_phantom', size=256)
    return parser.parse_args()


def main() -> None:
    args = vars(parse_args())
    try:
        info = make_face_phantom(**args)
    except ValueError as error:
        sys.exit(f'error: {error}')
    print(describe_phantom(info, args['out']))


if __name__ == '__main__':
    main()
