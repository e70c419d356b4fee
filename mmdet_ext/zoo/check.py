"""What is wrong with the metafiles: each fault is a sentence that names file, entry and cure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmdet_ext.analysis.readme_tables import update_readmes

from .metafile import INDEX, METAFILE, Entry, entries_of, list_metafiles, read_metafile
from .publish import PUBLISHED, check_published


def find_problems(root: str | Path = '.', weights: bool = True) -> list[str]:
    """Check index, metafiles, and what they name.

    Args:
        root: Of the repository.
        weights: Look at local checkpoints, too; a fresh clone has none.

    Returns:
        Sentences; empty where nothing is wrong.
    """
    root = Path(root)
    try:
        named = list_metafiles(root)
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    families = sorted(path for path in (root / 'configs').iterdir() if path.is_dir() and path.name[0] not in '_.')
    there = {f'configs/{family.name}/{METAFILE}' for family in families}
    problems = [f'{root / INDEX} does not name {name}: add it to Import.' for name in sorted(there - set(named))]
    problems += [f'{root / INDEX} names {name} {number} times.' for name, number in _twice(named)]
    contents: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(named):
        try:
            contents[name] = read_metafile(root / name)
        except (FileNotFoundError, ValueError) as error:  # noqa: PERF203  (every one of them is told)
            problems.append(str(error))
    entries = [entry for name, content in contents.items() for entry in entries_of(name, content)]
    for name, content in contents.items():
        problems += [f'{name}: {problem}' for problem in _collection_problems(root, name, content)]
    collections = {name: {row['Name'] for row in content['Collections']} for name, content in contents.items()}
    for entry in entries:
        found = [*_entry_problems(root, entry, collections[entry.metafile]), *_form_problems(entry)]
        if entry.trained:
            found += _weights_problems(root, entry, weights)
        problems += [f'{entry.metafile}: {entry.name}: {problem}' for problem in found]
    problems += [
        f'{name} is the name of {number} entries: rename one.' for name, number in _twice(e.name for e in entries)
    ]
    every = (row['Name'] for content in contents.values() for row in content['Collections'])
    return problems + [f'{name} is the name of {number} collections: rename one.' for name, number in _twice(every)]


def find_stale_tables(root: str | Path = '.') -> list[str]:
    """READMEs of families whose tables are not as their files have them, or cannot be filled.

    Args:
        root: Of the repository.
    """
    readmes = [path for name in list_metafiles(root) if (path := Path(root, name).with_name('README.md')).is_file()]
    try:
        stale = update_readmes(readmes, root, check=True)
    except (FileNotFoundError, ValueError) as error:
        return [str(error)]
    return [f'{path}: tables are not up to date; tools/analysis_tools/readme_tables.py writes them.' for path in stale]


def _twice(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    return ((name, number) for name, number in Counter(names).items() if number > 1)


def _collection_problems(root: Path, name: str, content: Mapping[str, Any]) -> Iterator[str]:
    for row in content['Collections']:
        what = f'collection {row["Name"]}'
        readme = row.get('README')
        if not readme or not (root / readme).is_file():
            yield f'{what}: README {readme} is not there: correct it, or write that file.'
        elif f'<!-- zoo {name}: begin -->' not in (root / readme).read_text(encoding='utf-8'):
            yield f'{what}: {readme} has no table: write the lines "<!-- zoo {name}: begin -->" and "... end -->".'
        code = (row.get('Code') or {}).get('URL', '')
        if not code or ('://' not in code and not (root / code).exists()):
            yield f'{what}: Code URL {code!r} is neither an address nor a path from the root: correct it.'
        if 'Paper' in row and not {'URL', 'Title'} <= set(row['Paper']):
            yield f'{what}: Paper needs URL and Title.'


def _entry_problems(root: Path, entry: Entry, collections: set[str]) -> Iterator[str]:
    content = entry.content
    collection, config = content.get('In Collection'), str(content.get('Config'))
    if collection not in collections:
        yield f'collection {collection} is not there: there are {", ".join(sorted(collections)) or "none"}.'
    if not (root / config).is_file():
        yield f'config {config} is not there: correct Config, or remove the entry.'
    elif entry.name != Path(config).stem or entry.name != entry.name.lower():
        yield f'Name must be that of its config, {Path(config).stem}, in lower case.'
    elif Path(config).parent != Path(entry.metafile).parent:
        yield f'config {config} is of another family: its entry belongs into the metafile beside it.'


def _form_problems(entry: Entry) -> Iterator[str]:
    """What a reader would stumble over, see `metafile`."""
    about = entry.content.get('Metadata') or {}
    if not about.get('Training Data'):
        yield "Metadata has no 'Training Data': write what it is to be trained on."
    for key, value in about.items():
        if isinstance(value, Mapping) or value == []:
            yield f'Metadata: {key} must be a text, a number or a list that is not empty.'
    if not isinstance(entry.content.get('Alias', []), list):
        yield 'Alias must be a list.'
    for key in ('Weights', 'Results'):
        if entry.trained and not entry.content.get(key):
            yield f"it is one of Models, but has no '{key}': move it to Untrained; tools/zoo.py brings it back."
        if not entry.trained and key in entry.content:
            yield f"it is one of Untrained, but has '{key}': leave it to tools/zoo.py to move it to Models."


def _weights_problems(root: Path, entry: Entry, local: bool) -> Iterator[str]:
    place = str(entry.content.get('Weights') or '')
    name = place.rpartition('/')[2]
    match = PUBLISHED.fullmatch(name)
    if place and (match is None or match['stem'] != entry.name):
        yield f'Weights {name} is no published checkpoint of it: the name must be {entry.name}_TIME-HASH.pth.'
    elif place and local and '://' not in place:
        try:
            check_published(root / place)
        except FileNotFoundError as error:
            yield f'{error} python tools/zoo.py --only {entry.name} makes it; --url says where else it is.'
        except ValueError as error:
            yield str(error)
