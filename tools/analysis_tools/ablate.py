"""Train the arms of a grid file with several seeds and compare them: configs/relation_rcnn/ablations has examples."""

import argparse
import sys

from mmdet_ext.analysis.ablation.ablate import run_ablation


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('grid_file', metavar='GRID.yml', help='configs, options and seeds to compare (YAML or JSON)')
    parser.add_argument(
        '--launcher',
        metavar='TEMPLATE',
        help="command line of a run, e.g. 'tools/dist_train.sh {config} 4' or "
        "'tools/slurm_train.sh PARTITION {name} {config} {work_dir}' (default: one process of tools/train.py)",
    )
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time (default: %(default)s)')
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        '--dry-run', action='store_true', help='write the configs and print the command lines of what is to be done'
    )
    only.add_argument('--collect', action='store_true', help='train nothing, gather what is there')
    parser.add_argument(
        '--restore', metavar='ablation.json', help='its finished runs count as done: of another machine, say'
    )
    return parser.parse_args()


if __name__ == '__main__':
    try:
        run_ablation(**vars(parse_args()))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('interrupted: the same command goes on from the last checkpoints')
