"""Leave images out of a training by rules over diagnose.py's figures and their annotations; --undo puts them back."""

import argparse
import sys

from mmdet_ext.analysis.screening.rules import RULES, Limits
from mmdet_ext.analysis.screening.screen import screen_images, undo_screening


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'ann_file', nargs='?', metavar='ANN.json', help='COCO json that was diagnosed as training split'
    )
    parser.add_argument('per_image', nargs='?', metavar='PER_IMAGE.csv', help='what diagnose.py wrote of it')
    parser.add_argument('--out', help='folder to write into; with --undo the file to write')
    rules = '; '.join(f'{name}: {rule.meaning}' for name, rule in RULES.items())
    default = Limits()
    parser.add_argument(
        '--rules',
        nargs='+',
        default=default.rules,
        metavar='RULE',
        help=f'{rules} (default: {" ".join(default.rules)})',
    )
    parser.add_argument(
        '--loss-quantile',
        type=float,
        default=default.loss_quantile,
        help='images above it are dropped (default: %(default)s)',
    )
    parser.add_argument(
        '--loss-column', default=default.loss_column, help='the sum or one term of the losses (default: %(default)s)'
    )
    parser.add_argument(
        '--min-side',
        type=float,
        default=default.min_side,
        help='shorter side of an object in pixels at the input of the model (default: %(default)s)',
    )
    parser.add_argument(
        '--max-share', type=float, default=0.5, help='refuse to drop more of the images (default: %(default)s)'
    )
    parser.add_argument(
        '--control', type=int, metavar='SEED', help='write control.json, as many images by chance, to compare with'
    )
    parser.add_argument('--truth', metavar='LIST.json', help='images known to be bad: say how many are found')
    parser.add_argument('--undo', metavar='screened.json', help='put the images of this list back')
    args = parser.parse_args()
    if args.undo is None and (args.per_image is None or args.out is None):
        parser.error('ANN.json, PER_IMAGE.csv and --out are needed (or --undo)')
    if args.undo is not None and args.ann_file is not None:
        parser.error('--undo takes no other file: screened.json knows them')
    return args


def main() -> None:
    """Screen, or undo a screening."""
    args = parse_args()
    if args.undo is not None:
        print(f'{undo_screening(args.undo, args.out)} has all images again')
        return
    limits = Limits(args.rules, args.loss_quantile, args.loss_column, args.min_side)
    screen_images(args.ann_file, args.per_image, args.out, limits, args.max_share, args.control, args.truth)


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
