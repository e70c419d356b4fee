"""Why is the mAP low? Look at a trained detector image by image, and name the likeliest cause in plain words."""

import argparse
import shlex
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.analysis.diagnosis.diagnose import TRIAL_IMAGES, WORST, run_diagnosis
from mmdet_ext.engine.config_arguments import add_config_arguments


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint file')
    parser.add_argument(
        '--split',
        dest='splits',
        type=lambda text: text.split(','),
        default=['train', 'val'],
        metavar='NAME[,NAME]',
        help='of train, val and test, those to look at (default: train,val)',
    )
    parser.add_argument('--num', type=int, help='images of each split, evenly spread over it (default: all)')
    parser.add_argument(
        '--image-ids',
        nargs='+',
        metavar='ID',
        help='only these images, by id or file name; --num is not looked at then',
    )
    parser.add_argument('--worst', type=int, default=WORST, help='number of images to draw (default: %(default)s)')
    parser.add_argument(
        '--trials',
        dest='trial_images',
        type=int,
        default=TRIAL_IMAGES,
        help='images of each split shown with other channels, sizes and labels; 0: none (default: %(default)s)',
    )
    parser.add_argument('--out', help='folder of the report (default: work_dirs/diagnosis/<config>)')
    add_config_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_diagnosis(**vars(parse_args()), command=shlex.join(['python', *sys.argv]))
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit(130)
