"""Write VOC xml annotations as COCO json."""

import argparse
import sys

from mmdet_ext.datasets.converters.voc_to_coco import voc_to_coco


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', help='folder of the data set')
    parser.add_argument('image_set', help='list of image names below it, e.g. BCCD/ImageSets/Main/train.txt')
    parser.add_argument('--prefix', default='', help='folder of JPEGImages and Annotations below it, e.g. BCCD')
    parser.add_argument('--classes', nargs='+', required=True, help='class names in the order wanted')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    args = parser.parse_args()
    coco = voc_to_coco(**vars(args))
    print(f'{args.out}: {len(coco["images"])} images, {len(coco["annotations"])} boxes')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
