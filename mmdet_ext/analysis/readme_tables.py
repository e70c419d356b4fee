"""Tables of stored results in Markdown files: written by a command, never typed.

```markdown
<!-- ablation benchmarks/relation_phantom.json: begin -->
<!-- ablation benchmarks/relation_phantom.json: end -->
```

What stands between two such lines comes from the file that they name. The word before it says which kind it is: for
`ablation` an `ablation.json` of `tools/analysis_tools/ablate.py`, for `communication` the file of
`tools/analysis_tools/communication.py`, for `deployment` that of `tools/deployment/support_table.py`, for `endurance`
that of `tools/endurance.py`, for `large-inputs` and `mixed-precision` those of the same with `--large` and `--amp`, for
`reliability` that of `make drill`, for `support` that of `make test-matrix`, for `zoo` the `metafile.yml` of the family
whose README it is.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mmdet_ext.deployment.support_table import format_support
from mmdet_ext.reliability.endurance import format_endurance
from mmdet_ext.reliability.large_inputs import format_large_inputs
from mmdet_ext.reliability.mixed_precision import format_mixed_precision
from mmdet_ext.reliability.table import format_reliability
from mmdet_ext.utils.support_matrix import format_matrix
from mmdet_ext.zoo.metafile import read_metafile
from mmdet_ext.zoo.table import format_zoo

from .ablation.table import format_markdown
from .communication import format_communication

FORMATS: dict[str, Callable[[Any], str]] = {
    'ablation': format_markdown,
    'communication': format_communication,
    'deployment': format_support,
    'endurance': format_endurance,
    'large-inputs': format_large_inputs,
    'mixed-precision': format_mixed_precision,
    'reliability': format_reliability,
    'support': format_matrix,
    'zoo': format_zoo,
}
HINTS = {
    'ablation': 'copy the ablation.json of that ablation to it',
    'communication': 'tools/analysis_tools/communication.py --out writes it',
    'deployment': 'tools/deployment/support_table.py writes it',
    'endurance': 'tools/endurance.py writes it',
    'large-inputs': 'tools/endurance.py --large writes it',
    'mixed-precision': 'tools/endurance.py --amp writes it',
    'reliability': '`make drill` writes it',
    'support': '`make test-matrix` writes it',
    'zoo': 'write it as mmdet_ext/zoo/metafile.py says',
}
_KINDS = '|'.join(FORMATS)
_BLOCK = re.compile(
    rf'^(<!-- ({_KINDS}) (\S+): begin -->)\n(?:.*?\n)??(<!-- \2 \3: end -->)$', re.DOTALL | re.MULTILINE
)
_MARK = re.compile(rf'^<!-- (?:{_KINDS}) .*-->$', re.MULTILINE)


def fill_tables(text: str, root: str | Path = '.') -> str:
    """A Markdown text with every table as its file has it.

    Args:
        text: With lines as above; without, it stays as it is.
        root: Folder that the files are named from.

    Raises:
        FileNotFoundError: A file that is named is not there.
        ValueError: A line that begins a table has no line that ends it, or the other way round.
    """

    def fill(match: re.Match[str]) -> str:
        file = Path(root, match[3])
        if not file.is_file():
            raise FileNotFoundError(f'{file} is not there; {HINTS[match[2]]}')
        return f'{match[1]}\n{FORMATS[match[2]](_read(file))}{match[4]}'

    filled, found = _BLOCK.subn(fill, text)
    marks = _MARK.findall(text)
    if len(marks) != 2 * found:
        raise ValueError(
            f'the lines {", ".join(marks)} are not pairs of "<!-- KIND FILE: begin -->" and "<!-- KIND FILE: end -->"'
        )
    return filled


def _read(file: Path) -> Any:
    return read_metafile(file) if file.suffix == '.yml' else json.loads(file.read_text(encoding='utf-8'))


def update_readmes(files: Iterable[str | Path], root: str | Path = '.', check: bool = False) -> list[Path]:
    """Fill the tables of Markdown files.

    Args:
        files: The files; they are rewritten where a table differs.
        root: See `fill_tables`.
        check: Write nothing.

    Returns:
        Those whose tables were not as their results.

    Raises:
        FileNotFoundError, ValueError: See `fill_tables`; the message names the Markdown file.
    """
    stale = []
    for file in map(Path, files):
        text = file.read_text(encoding='utf-8')
        try:
            filled = fill_tables(text, root)
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f'{file}: {error}') from error
        if filled != text:
            stale.append(file)
            if not check:
                file.write_text(filled, encoding='utf-8')
    return stale
