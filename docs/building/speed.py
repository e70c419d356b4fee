"""Tables of the speed benchmarks: a line `<!-- speed NAME NAME ... -->` becomes the table of these rows of a file."""

import json
import re
from pathlib import Path
from typing import Any

FILE = 'benchmarks/speed.json'
_LINE = re.compile(r'^<!-- speed ([\w -]+) -->$', re.MULTILINE)
_HEAD = (
    '| what | beside | time of ours | of the other | ratio of the best | of the medians | limit of the machine '
    '| extra memory |'
)


def fill_speed_tables(markdown: str, root: Path) -> str:
    """A page with its tables.

    Args:
        markdown: Text of the page.
        root: Folder that has `benchmarks/`.

    Raises:
        FileNotFoundError: There is no file of rows.
        KeyError: It lacks a row.
    """

    def table(match: re.Match[str]) -> str:
        rows = json.loads((root / FILE).read_text(encoding='utf-8'))
        lacking = [name for name in match[1].split() if name not in rows]
        if lacking:
            raise KeyError(f'{FILE} has no row {", ".join(lacking)}: `make bench` measures it')
        lines = [_row(rows[name]) for name in match[1].split()]
        return '\n'.join([_HEAD, '|---|---|--:|--:|--:|--:|--:|--:|', *lines])

    return _LINE.sub(table, markdown)


def _row(benchmark: dict[str, Any]) -> str:
    summary = benchmark['summary']
    best, share = summary['best_s'], summary['memory_share']
    memory = '' if share is None else f'1/{1 / share:.0f}'
    limit = f'{_time(summary["limit_s"])}, {summary["limit_by"]}' if 'limit_s' in summary else ''
    title = summary['title'].replace('|', '\\|')
    return (
        f'| {title} | {summary["sibling"]} | {_time(best["ours"])} | {_time(best["sibling"])} '
        f'| {summary["ratio_best"]:.2f} | {summary["ratio_median"]:.2f} | {limit} | {memory} |'
    )


def _time(seconds: float) -> str:
    return f'{seconds:.2f} s' if seconds >= 1 else f'{1000 * seconds:.3g} ms'
