"""Write VOC's segmentation pictures as COCO json with one mask per object."""

import argparse
import sys

from mmdet_ext.datasets.converters.voc_masks_to_coco import voc_masks_to_coco


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data_root', help='folder of the data set')
    parser.add_argument('image_set', help='list of image names below it, e.g. VOC2012/ImageSets/Segmentation/train.txt')
    parser.add_argument('--prefix', default='', help='folder of JPEGImages and the pictures below it, e.g. VOC2012')
    parser.add_argument('--classes', nargs='+', help="names of the pixel values 1, 2, ...; default: VOC's twenty")
    parser.add_argument('--border', choices=('nobody', 'object'), default='nobody', help='who gets the pixels of 255')
    parser.add_argument('--reach', type=float, default=5.0, help='pixels from an object up to which it gets them')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    args = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    coco = voc_masks_to_coco(**args)
    print(f'{args["out"]}: {len(coco["images"])} images, {len(coco["annotations"])} masks')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
