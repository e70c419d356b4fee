"""Write the README of the relation log's experiments: each row with its config, the log's figures, and ours."""

import argparse
from pathlib import Path

from mmdet_ext.analysis.relation_log import format_relation_log


def main() -> None:
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--folder', default='configs/relation_rcnn/experiments', help='configs and log.yml')
    found = sorted(Path('benchmarks').glob('relation_experiments*.json'))
    parser.add_argument('--results', nargs='*', default=found, help='each an ablation.json of ablate.py')
    args = parser.parse_args()
    readme = Path(args.folder) / 'README.md'
    readme.write_text(format_relation_log(args.folder, args.results), encoding='utf-8')
    print(readme)


if __name__ == '__main__':
    main()
