"""Write the tables of stored results into the Markdown files that ask for them, from benchmarks/*.json."""

import argparse
import sys
from pathlib import Path

from mmdet_ext.analysis.readme_tables import update_readmes


def main() -> None:
    """Parse the arguments, write or check, and say which files differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    readmes = sorted(path for top in ('configs', 'tools') for path in Path(top).rglob('README.md'))
    found = [Path('README.md'), *readmes, *sorted(Path('docs').rglob('*.md'))]
    parser.add_argument('files', nargs='*', default=found, help='Markdown files')
    parser.add_argument(
        '--check', action='store_true', help='write nothing; exit code 1 where a table is not up to date'
    )
    args = parser.parse_args()
    try:
        stale = update_readmes(args.files, check=args.check)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
    for file in stale:
        print(f'{file}: {"not up to date" if args.check else "written"}')
    sys.exit(bool(stale and args.check))


if __name__ == '__main__':
    main()
