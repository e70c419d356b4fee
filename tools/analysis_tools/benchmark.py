"""Measure speed and memory of our components beside their siblings; `make bench`."""

import argparse
import shlex
import sys

from mmdet_ext.analysis.benchmarks.benchmark import CASES, default_cases, format_rows, run_benchmark


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('case', nargs='*', default=['all'], help=f'all, or some of {", ".join(CASES)}')
    parser.add_argument('--out', default='benchmarks/speed.json', help='JSON file; rows of other cases stay in it')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--repeats', type=int, help='measurements of each side (default: as many as the case wants)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    names = default_cases(args.device) if 'all' in args.case else args.case
    command = shlex.join(['python', *sys.argv])
    results = run_benchmark(names, args.out, device=args.device, seed=args.seed, repeats=args.repeats, command=command)
    print(format_rows(results))


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
