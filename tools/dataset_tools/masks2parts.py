"""Make a part file, {file_name: {part: [x, y, w, h]}}, from masks of the parts."""

import argparse
import sys

from mmdet_ext.datasets.converters.masks_to_parts import masks_to_parts


def parse_label(text: str) -> tuple[int, str]:
    """`1=left lung` -> `(1, 'left lung')`."""
    value, _, part = text.partition('=')
    if not value.isdigit() or not part:
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form 1="left lung"')
    return int(value), part


def main() -> None:
    """Parse the arguments, convert, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('masks', help='folder of label maps, folder with a folder of masks per part, or COCO json')
    parser.add_argument('-o', '--out', required=True, help='json file to write')
    parser.add_argument(
        '--labels', nargs='+', type=parse_label, metavar='VALUE=PART', help='parts of label maps, such as 1="left lung"'
    )
    parser.add_argument('--images', help='folder of the images: masks are matched with them, and sizes compared')
    parser.add_argument('--min-area', type=int, default=1, help='leave out parts whose largest piece has fewer pixels')
    args = vars(parser.parse_args())
    if args['labels']:
        args['labels'] = dict(args['labels'])
    try:
        parts = masks_to_parts(**args)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    print(f'{args["out"]}: {len(parts)} images, {sum(map(len, parts.values()))} part boxes')


if __name__ == '__main__':
    main()
