"""Write the READMEs of the logs that are configs: each row with its config, the log's figures, and ours."""

import argparse
import sys
from pathlib import Path

from mmdet_ext.analysis.logs.experiment_log import write_experiment_logs


def main() -> None:
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    found = sorted({file.parent for file in Path('configs').rglob('log.yml')})
    parser.add_argument('folders', nargs='*', default=found, help='each with configs and log.yml')
    parser.add_argument('--results', nargs='*', help='each an ablation.json of ablate.py; default: those log.yml names')
    args = parser.parse_args()
    for readme in write_experiment_logs(args.folders, args.results):
        print(readme)


if __name__ == '__main__':
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
