"""Tables of the speed benchmarks: a line `<!-- speed NAME NAME ... -->` becomes the table of `benchmarks/NAME.json`."""

import json
import re
from pathlib import Path
from typing import Any

_LINE = re.compile(r'^<!-- speed ([\w ]+) -->$', re.MULTILINE)
_HEAD = '| what | beside | time of ours | of the other | ratio of the best | of the medians | extra memory |'


def fill_speed_tables(markdown: str, root: Path) -> str:
    """A page with its tables.

    Args:
        markdown: Text of the page.
        root: Folder that has `benchmarks/`.

    Raises:
        FileNotFoundError: A benchmark has no file.
    """

    def table(match: re.Match[str]) -> str:
        files = [root / 'benchmarks' / f'{name}.json' for name in match[1].split()]
        rows = [_row(json.loads(file.read_text(encoding='utf-8'))) for file in files]
        return '\n'.join([_HEAD, '|---|---|--:|--:|--:|--:|--:|', *rows])

    return _LINE.sub(table, markdown)


def _row(benchmark: dict[str, Any]) -> str:
    summary = benchmark['summary']
    best, share = summary['best_s'], summary['memory_share']
    memory = '' if share is None else f'1/{1 / share:.0f}'
    title = summary['title'].replace('|', '\\|')
    return (
        f'| {title} | {summary["sibling"]} | {_time(best["ours"])} | {_time(best["sibling"])} '
        f'| {summary["ratio_best"]:.2f} | {summary["ratio_median"]:.2f} | {memory} |'
    )


def _time(seconds: float) -> str:
    return f'{seconds:.2f} s' if seconds >= 1 else f'{1000 * seconds:.1f} ms'
