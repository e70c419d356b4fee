"""Train, publish and test the models that the metafiles mark with 'Zoo: true', and write what came out into them."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (registers the modules that a config names)
from mmdet_ext.engine.config_arguments import add_cfg_options
from mmdet_ext.zoo.build import build_zoo, list_zoo
from mmdet_ext.zoo.check import find_problems, find_stale_tables


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument('--list', action='store_true', help='say what there is to train')
    what.add_argument(
        '--check', action='store_true', help='look at metafiles, checkpoints and tables; exit code 1 where one is wrong'
    )
    parser.add_argument('--only', nargs='+', default=(), metavar='NAME', help='these entries (default: all marked)')
    parser.add_argument(
        '--url',
        metavar='PREFIX',
        help='where the checkpoints are served from, for the metafiles (default: local paths)',
    )
    parser.add_argument('--work-dir', help='checkpoints, figures and trainings (default: work_dirs/zoo)')
    parser.add_argument('--launcher', metavar='TEMPLATE', help='command line of a training, see ablate.py')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time (default: %(default)s)')
    add_cfg_options(parser, 'train_cfg.max_epochs=1, for a trial that leaves metafiles and READMEs alone')
    return parser.parse_args()


def main() -> None:
    """Build, list or check."""
    args = vars(parse_args())
    look, check, options = args.pop('list'), args.pop('check'), args.pop('cfg_options')
    try:
        if look:
            print(list_zoo())
        elif check:
            sys.exit('\n'.join(find_problems() or find_stale_tables()) or None)
        else:
            build_zoo(options=options, **args)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('interrupted: the same command goes on from the last checkpoints')


if __name__ == '__main__':
    main()
