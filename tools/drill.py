"""Break trainings and feed bad files to readers: nothing saved may be lost; `make drill`."""

import argparse
import shlex
import sys
from pathlib import Path

import mmdet_ext  # noqa: F401  (registers what the trainings use)
from mmdet_ext.reliability.drill import PARTS, run_drill


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('part', nargs='*', default=list(PARTS), help=f'some of {", ".join(PARTS)} (default: all)')
    parser.add_argument('--kills', type=int, default=20, help='points at which a training is killed')
    parser.add_argument('--cases', type=int, default=10_000, help='bad files')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', default='benchmarks/reliability.json', help='JSON file of the figures')
    args = parser.parse_args()
    faults = run_drill(
        args.out,
        kills=args.kills,
        cases=args.cases,
        seed=args.seed,
        parts=args.part,
        repository=Path(__file__).parents[1],
        command=shlex.join(['python', *sys.argv]),
    )
    if faults:
        sys.exit('\n'.join(['error: not as it should be:', *faults]))


if __name__ == '__main__':
    try:
        main()
    except ValueError as error:
        sys.exit(f'error: {error}')
