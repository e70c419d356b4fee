"""Run the suites on every supported Python and both stacks; a missing interpreter is skipped, and said so."""

import argparse
import sys

from mmdet_ext.utils.provenance import find_commit
from mmdet_ext.utils.support_matrix import PYTHONS, SUITES, run_matrix


def main() -> None:
    """Parse the arguments and run; exit code 1 where a suite failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--pythons', nargs='+', default=PYTHONS, metavar='VERSION', help='minor versions')
    parser.add_argument('--stacks', nargs='+', default=tuple(SUITES), metavar='STACK', help='default, onedl')
    parser.add_argument(
        '--python',
        nargs=2,
        action='append',
        default=[],
        metavar=('VERSION', 'PATH'),
        help='an interpreter that is not found',
    )
    parser.add_argument('--out', default='benchmarks/support.json', help='the rows; those of other environments stay')
    args = parser.parse_args()
    try:
        rows = run_matrix(args.out, args.pythons, args.stacks, dict(args.python), commit=find_commit())
    except ValueError as error:
        sys.exit(f'error: {error}')
    sys.exit(any(row.get('problem') for row in rows))


if __name__ == '__main__':
    main()
