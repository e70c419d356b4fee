"""Copy a COCO annotation file with a share of its images annotated wrongly, to measure what finds or bears it."""

import argparse
import sys

from mmdet_ext.datasets.label_noise import plant_label_noise


def main() -> None:
    """Parse the arguments, plant, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('ann_file', metavar='ann', help='COCO json')
    parser.add_argument('-o', '--out', required=True, help='json file to write; beside it the list NAME.planted.json')
    parser.add_argument('--share', type=float, default=0.3, help='of the images with objects (default: %(default)s)')
    parser.add_argument(
        '--kinds',
        nargs='+',
        default=('label', 'box', 'missing'),
        help='other classes, moved boxes, objects left out (default: label box missing)',
    )
    parser.add_argument('--seed', type=int, default=0, help='which images and how (default: %(default)s)')
    args = parser.parse_args()
    done = plant_label_noise(**vars(args))
    counts = ', '.join(f'{number} {kind}' for kind, number in done['planted'].items())
    print(f'{args.out}: {done["images"]} images, faults in {sum(done["planted"].values())} of them ({counts})')
    print(f'{done["list"]}: which ones')


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
