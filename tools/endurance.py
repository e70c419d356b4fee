"""Train each family for thousands of steps and look whether memory, open files and threads stay as they are."""

import argparse
import shlex
import sys
from pathlib import Path

from mmdet_ext.reliability.endurance import FAMILIES, run_endurance


def main() -> None:
    """Parse the arguments and run; exit code 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('family', nargs='*', default=list(FAMILIES), help=f'some of {", ".join(FAMILIES)}')
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--workers', type=int, default=2, help='of the data loader')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', default='work_dirs/endurance')
    parser.add_argument('--out', default='benchmarks/endurance.json', help='JSON file; a picture is put beside it')
    args = parser.parse_args()
    try:
        rows = run_endurance(
            args.out,
            steps=args.steps,
            workers=args.workers,
            families=args.family,
            work_dir=args.work_dir,
            repository=Path(__file__).parents[1],
            seed=args.seed,
            command=shlex.join(['python', *sys.argv]),
        )
    except (ValueError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    sys.exit(not all(row['flat'] for row in rows))


if __name__ == '__main__':
    main()
