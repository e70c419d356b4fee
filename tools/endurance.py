"""Train each family for thousands of steps and look whether memory, open files and threads stay as they are."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from mmdet_ext.reliability.endurance import run_endurance
from mmdet_ext.reliability.family_trainings import FAMILIES
from mmdet_ext.reliability.large_inputs import run_large_inputs
from mmdet_ext.reliability.mixed_precision import run_mixed_precision


def main() -> None:
    """Parse the arguments and run; exit code 1 where something grows or fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('family', nargs='*', default=list(FAMILIES), help=f'some of {", ".join(FAMILIES)}')
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument('--large', action='store_true', help='instead: a few steps on very large and very full images')
    instead.add_argument('--amp', action='store_true', help='instead: 300 steps in float16 and in bfloat16, on a GPU')
    parser.add_argument('--steps', type=int, help='default: 2000, with --amp 300')
    parser.add_argument('--workers', type=int, default=2, help='of the data loader (default: 2)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--work-dir', default='work_dirs/endurance', help='default: work_dirs/endurance')
    parser.add_argument(
        '--out',
        help='JSON file (default: benchmarks/endurance.json, with a picture beside it, large_inputs.json with --large, '
        'gpu/mixed_precision.json with --amp)',
    )
    args = parser.parse_args()
    if args.large and args.steps is not None:
        parser.error('--large has a number of steps of its own: leave --steps out')
    kind = 'large_inputs' if args.large else 'gpu/mixed_precision' if args.amp else 'endurance'
    options: dict[str, Any] = {
        'workers': args.workers,
        'families': args.family,
        'work_dir': args.work_dir,
        'repository': Path(__file__).parents[1],
        'seed': args.seed,
        'command': shlex.join(['python', *sys.argv]),
    }
    if args.steps is not None:
        options['steps'] = args.steps
    out = args.out or f'benchmarks/{kind}.json'
    try:
        if args.large:
            run_large_inputs(out, **options)
            return
        if args.amp:
            rows = run_mixed_precision(out, **options)
            sys.exit(any('error' in figures for row in rows.values() for figures in row['dtypes'].values()))
        sys.exit(not all(row['flat'] for row in run_endurance(out, **options)))
    except (ValueError, RuntimeError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
