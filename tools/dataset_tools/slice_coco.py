"""Cut the pictures of a COCO data set into square tiles, so that small objects keep their size on small inputs."""

import argparse
import sys

from mmdet_ext.datasets.converters.slice_coco import slice_coco


def main() -> None:
    """Parse the arguments, cut, and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('ann_file', metavar='ann', help='COCO json with boxes; segmentations are dropped')
    parser.add_argument('images', help='folder that its file names are relative to')
    parser.add_argument('-o', '--out', required=True, help='folder to write NAME/*.png and annotations/NAME.json into')
    parser.add_argument('--name', help='name of the split (default: that of the json)')
    parser.add_argument('--tile', type=int, default=256, help='side of a tile in pixels (default: 256)')
    parser.add_argument('--long-side', type=int, help='shrink larger pictures to this first (default: do not)')
    parser.add_argument(
        '--overlap',
        type=float,
        default=0.0,
        help='least share of its side that a tile shares with the next (default: 0)',
    )
    parser.add_argument(
        '--min-visible', type=float, default=0.5, help='ignore a box of which a smaller share is left (default: 0.5)'
    )
    parser.add_argument('--keep-empty', action='store_true', help='keep tiles without a box, better for evaluation')
    args = parser.parse_args()
    try:
        coco = slice_coco(**vars(args))
    except (ValueError, OSError) as error:
        sys.exit(f'error: {error}')
    counts = coco['info']['counts']
    print(
        f'{args.out}: {counts["tiles"]} tiles of {counts["pictures"]} pictures ({counts["empty_tiles_left_out"]} empty '
        f'tiles left out), {counts["boxes"]} boxes and {counts["ignored_boxes"]} ignored pieces of boxes; of the '
        f'{counts["source_boxes"]} boxes of the source, {counts["source_boxes_in_no_tile"]} count in no tile'
    )


if __name__ == '__main__':
    main()
