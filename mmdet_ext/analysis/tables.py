"""Tables as Markdown, for people, and as CSV, for spreadsheets."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells as they are; a bar within one does not end it."""
    safe = [[cell.replace('|', '\\|') for cell in row] for row in rows]
    return tabulate(safe, headers=head, tablefmt='github', disable_numparse=True)


def write_csv(path: str | Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a row for each; None is an empty cell. Missing folders are made.

    Returns:
        The path written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return path
