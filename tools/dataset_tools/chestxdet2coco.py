"""Write annotations of ChestX-Det as COCO json with boxes and masks."""

import argparse
import sys

from mmdet_ext.datasets.chestx_det import chestx_det_to_coco, describe_conversion


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('json_file', help='ChestX_Det_train.json or ChestX_Det_test.json')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    parser.add_argument('--images', help='folder of the pictures, to read their sizes; default: all are of --size')
    parser.add_argument(
        '--size', nargs=2, type=int, default=(1024, 1024), metavar=('W', 'H'), help='size of all images'
    )
    parser.add_argument('--skip-invalid', action='store_true', help='leave images with errors out instead of stopping')
    args = parser.parse_args()
    result = chestx_det_to_coco(**vars(args))
    print(f'{describe_conversion(result)}\n{args.out}')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
