"""Write a checkpoint to hand on: weights, class names, config and versions, with its hash in its name."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (registers the modules that a config names)
from mmdet_ext.zoo.publish import check_published, publish_model


def main() -> None:
    """Parse the arguments and publish or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='of a training; with --check, a published file')
    parser.add_argument('out', nargs='?', help='folder of the published file, CONFIG_YYYYmmdd_HHMMSS-HASH.pth')
    parser.add_argument('--config', help='what it was trained with: the weights are compared with its model')
    parser.add_argument('--check', action='store_true', help='only compare a published file with the hash in its name')
    args = parser.parse_args()
    if args.check == (args.out is not None):
        parser.error('give CHECKPOINT OUT, or --check CHECKPOINT')
    try:
        if args.check:
            check_published(args.checkpoint)
            print(f'{args.checkpoint}: whole')
        else:
            print(publish_model(args.checkpoint, args.out, args.config))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
