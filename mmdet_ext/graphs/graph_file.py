"""Reads and writes category graph files: `*.catgraph.json` for people and diffs, `.npz` for many classes."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .names import require_unique

FORMAT = 'catgraph'
VERSION = 1
BUILD_COMMAND = 'python tools/dataset_tools/category_graph.py build ANN -o'
SUFFIXES = ('.json', '.npz')
_META_KEYS = ('classes', 'kind', 'level', 'norm', 'self_loop', 'restrict', 'directed', 'n_images', 'sources')
_ARRAY_KEYS = ('matrix', 'counts')


def _is_list_of(kind: type, value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


# What each field of the head must be, and how to say so.
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **{key: (lambda value: isinstance(value, str), 'a text') for key in ('kind', 'level', 'norm')},
    'self_loop': (lambda value: type(value) in (int, float) and abs(value) < 1e30, 'a finite number'),
    'restrict': (lambda value: value is None or _is_list_of(str, value), 'a list of names or null'),
    'directed': (lambda value: isinstance(value, bool), 'true or false'),
    'n_images': (lambda value: type(value) is int and 0 <= value < 2**63, 'a number of images'),
    'sources': (
        lambda value: _is_list_of(dict, value) and all(isinstance(source.get('file'), str) for source in value),
        'a list of objects with `file`',
    ),
}


def write_graph(path: str | Path, fields: Mapping[str, Any]) -> Path:
    """Write the fields of a graph; the file appears complete or not at all.

    Args:
        path: Ends with `.json` (one matrix row per line) or `.npz`. Missing folders are made.
        fields: The attributes of a `CategoryGraph`.

    Raises:
        ValueError: Another suffix, or the matrix is not finite.
    """
    path = Path(path)
    _require_suffix(path)
    if not np.isfinite(fields['matrix']).all():
        raise ValueError(f'the category graph for {path} holds NaN or infinite values and was not written')
    head = {'format': FORMAT, 'version': VERSION, 'classes': fields['classes'], 'background': 'last'}
    head.update({key: fields[key] for key in _META_KEYS if key != 'classes'})
    if fields.get('options'):
        head['options'] = fields['options']
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        if path.suffix == '.json':
            text = _to_json({**head, **{key: fields[key] for key in _ARRAY_KEYS}})
            # Half a surrogate pair, which JSON allows and UTF-8 does not, becomes its JSON escape again.
            unfinished.write_text(text, encoding='utf-8', errors='backslashreplace')
        else:
            with unfinished.open('wb') as stream:
                np.savez_compressed(stream, meta=json.dumps(head), **{key: fields[key] for key in _ARRAY_KEYS})
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def read_graph(path: str | Path) -> dict[str, Any]:
    """Read and validate what `write_graph` wrote.

    Returns:
        The attributes of a `CategoryGraph`.

    Raises:
        FileNotFoundError: The file is missing; the message names the command that builds it.
        ValueError: Not a category graph of this version, a field is missing, a wrong shape, or values not finite.
    """
    path = Path(path)
    _require_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f'the category graph {path} does not exist; build it with: {BUILD_COMMAND} {path}')
    data = _read_json(path) if path.suffix == '.json' else _read_npz(path)
    if not isinstance(data, dict) or data.get('format') != FORMAT:
        raise ValueError(f'{path} is not a category graph: its `format` is not {FORMAT!r}')
    if data.get('version') != VERSION:
        raise ValueError(f'{path} has version {data.get("version")!r} of the category graph format; known is {VERSION}')
    missing = [key for key in ('background', *_META_KEYS, *_ARRAY_KEYS) if key not in data]
    if missing:
        raise ValueError(f'{path} lacks the fields {", ".join(missing)}')
    if data['background'] != 'last':
        raise ValueError(f'{path} puts the background {data["background"]!r}; only "last" is known')
    if not isinstance(data['classes'], list) or not all(isinstance(name, str) for name in data['classes']):
        raise ValueError(f'{path}: `classes` is not a list of names')
    require_unique(data['classes'], str(path))
    for key, (right, wanted) in _FORMS.items():
        if not right(data[key]):
            raise ValueError(f'{path}: `{key}` must be {wanted}, got {data[key]!r:.60}')
    fields = {key: data[key] for key in _META_KEYS}
    if 'options' in data:
        if not isinstance(data['options'], dict):
            raise ValueError(f'{path}: `options` is not a table of build options')
        fields['options'] = data['options']
    n_classes = len(data['classes'])
    fields['matrix'] = _to_array(path, data, 'matrix', np.float32, n_classes + 1)
    fields['counts'] = _to_array(path, data, 'counts', np.int64, n_classes)
    return fields


def _require_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(f'a category graph file ends with .catgraph.json or .npz, got {path}')


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is not a JSON file: {error}') from error


def _read_npz(path: Path) -> Any:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {**json.loads(str(stored['meta'])), **{key: stored[key] for key in _ARRAY_KEYS}}
    except Exception as error:  # damaged archives and headers of arrays raise anything
        raise ValueError(f'{path} is not a category graph in npz form: {error}') from error


def _to_array(path: Path, data: Mapping[str, Any], key: str, dtype: type, size: int) -> np.ndarray:
    """A square field as an array of `dtype`."""
    try:
        array = np.asarray(data[key], dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f'{path}: `{key}` is not a table of numbers: {error}') from error
    if array.shape != (size, size):
        raise ValueError(
            f'{path}: `{key}` has the shape {array.shape}; {len(data["classes"])} classes need ({size}, {size})'
        )
    if not np.isfinite(array).all():
        raise ValueError(f'{path}: `{key}` holds NaN or infinite values')
    if dtype is np.int64 and ((array < 0) | (array != np.floor(array))).any():
        raise ValueError(f'{path}: `{key}` holds values that are no numbers of objects: negative or fractions')
    with np.errstate(over='ignore'):
        too_large = (array > 2.0**53) if dtype is np.int64 else ~np.isfinite(array.astype(dtype))
    if too_large.any():
        raise ValueError(f'{path}: `{key}` holds numbers that are too large')
    return array.astype(dtype)


def _to_json(document: Mapping[str, Any]) -> str:
    """JSON with one class, source and matrix row per line, so that a change of one shows as one line in a diff."""
    lines = []
    for key, value in document.items():
        if isinstance(value, np.ndarray):
            # str of a float32 is its shortest exact form: 0.6123724 instead of 0.6123723983764648.
            text = _block([f'[{", ".join(str(number) for number in row)}]' for row in value])
        elif key in ('classes', 'sources'):
            text = _block([json.dumps(item, ensure_ascii=False) for item in value])
        else:
            text = json.dumps(value, ensure_ascii=False)
        lines.append(f'  {json.dumps(key)}: {text}')
    return '{\n' + ',\n'.join(lines) + '\n}\n'


def _block(items: list[str]) -> str:
    return '[\n    ' + ',\n    '.join(items) + '\n  ]' if items else '[]'
