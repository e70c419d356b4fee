"""Tune and compare the relation detector and plain ones on the chest phantom; `make bench-phantom`."""

import argparse
import shlex
import sys

from mmdet_ext.analysis.benchmarks.phantom import format_table, run_benchmark, update_readme


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='benchmarks/chest_phantom.json', help='JSON file of all numbers')
    parser.add_argument('--work-dir', default='work_dirs/phantom_benchmark', help='phantoms and trainings, restartable')
    parser.add_argument('--jobs', type=int, default=2, help='trainings at a time')
    parser.add_argument('--readme', help='also write the table into this file, between its markers')
    args = parser.parse_args()
    command = shlex.join(['python', *sys.argv])
    result = run_benchmark(args.out, args.work_dir, jobs=args.jobs, command=command)
    print(format_table(result))
    if args.readme:
        update_readme(args.readme, result)


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
