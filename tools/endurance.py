"""Train each family for thousands of steps and look whether memory, open files and threads stay as they are."""

import argparse
import shlex
import sys
from pathlib import Path

from mmdet_ext.reliability.endurance import FAMILIES, run_endurance
from mmdet_ext.reliability.large_inputs import run_large_inputs


def main() -> None:
    """Parse the arguments and run; exit code 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('family', nargs='*', default=list(FAMILIES), help=f'some of {", ".join(FAMILIES)}')
    parser.add_argument('--large', action='store_true', help='instead: a few steps on very large and very full images')
    parser.add_argument('--steps', type=int, default=2000, help='default: 2000')
    parser.add_argument('--workers', type=int, default=2, help='of the data loader (default: 2)')
    parser.add_argument('--amp', choices=['float16', 'bfloat16'], help='mixed precision, on a GPU')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--work-dir', default='work_dirs/endurance', help='default: work_dirs/endurance')
    parser.add_argument(
        '--out',
        help='JSON file, beside it a picture (default: benchmarks/endurance.json, or large_inputs.json with --large)',
    )
    args = parser.parse_args()
    out = args.out or f'benchmarks/{"large_inputs" if args.large else "endurance"}.json'
    options = {
        'workers': args.workers,
        'families': args.family,
        'work_dir': args.work_dir,
        'repository': Path(__file__).parents[1],
        'seed': args.seed,
        'command': shlex.join(['python', *sys.argv]),
    }
    try:
        if args.large:
            run_large_inputs(out, **options)
            return
        rows = run_endurance(out, steps=args.steps, amp=args.amp, **options)
    except (ValueError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    sys.exit(not all(row['flat'] for row in rows))


if __name__ == '__main__':
    main()
