"""Run on a GPU what needs one: tests, speed and memory, mixed precision. Results go into benchmarks/gpu."""

import argparse
import sys
from pathlib import Path

from mmdet_ext.utils.gpu_evidence import FOLDER, PARTS, gather_gpu_evidence


def main() -> None:
    """Parse the arguments and run; exit code 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('part', nargs='*', default=list(PARTS), help=f'some of {", ".join(PARTS)}; default: all')
    parser.add_argument('--out', default=FOLDER, metavar='FOLDER', help=f'default: {FOLDER}')
    args = parser.parse_args()
    try:
        codes = gather_gpu_evidence(args.part, args.out, Path(__file__).parents[1])
    except (ValueError, RuntimeError) as error:
        sys.exit(f'error: {error}')
    failed = [name for name, code in codes.items() if code]
    if failed:
        sys.exit(f'error: {", ".join(failed)} failed')


if __name__ == '__main__':
    main()
