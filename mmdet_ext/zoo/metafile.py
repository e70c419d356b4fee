"""`configs/<family>/metafile.yml`: what the zoo has, in a form that breaks none of its readers.

```yaml
Collections:                    # one for each idea of the family
- Name: CIoU
  Metadata: {Architecture: [Complete IoU loss]}
  Paper: {URL: https://arxiv.org/abs/1911.08287, Title: ...}      # where a paper is behind it
  README: configs/ciou/README.md
  Code: {URL: mmdet_ext/models/losses/complete_iou_loss.py, Version: 0.1.0}
Models: []                      # those that are trained: Results, Weights
Untrained:                      # configs to train
- Name: retinanet_r50_fpn_ciou-1x_coco        # as its config is called, in lower case
  In Collection: CIoU
  Config: configs/ciou/retinanet_r50_fpn_ciou-1x_coco.py
  Metadata: {Training Data: COCO, Epochs: 12}
- Name: ...
  Zoo: true                     # small enough for a CPU: `make zoo` trains it
```

`tools/zoo.py` moves an entry from `Untrained` to `Models` once there is a checkpoint, and writes `Results` (percent,
by the config's `test_dataloader`), `Weights` and, in `Metadata`, how it was made. Figures are never typed.

Why two lists. Every reader takes it for granted that an entry of `Models` has weights: without the key,
`DetInferencer(NAME)` ends in `KeyError: 'Weights'`, even where weights are given to it, and `mim download` in
`AttributeError: 'float' object has no attribute 'split'`; with an empty one, `DetInferencer` goes on with random
weights. Keys that they do not know, mmengine and mim (openmim 0.3.9, model-index 0.1.11) leave alone. So an untrained
name is unknown to `DetInferencer`, `mim download` and `list_models`, which say so in a sentence; its config is found by
`get_config`, `get_model`, `_base_ = 'mmdet_ext::...'` and `mim train` as ever, for these look into `configs/`. (Where
nothing at all is trained, `mim download` stumbles over its own empty table; `mim search` does not.)

What else they want: `Models` has to be a list, if an empty one (`mmengine.hub` and the inferencers go through it);
`In Collection` has to exist and lists must not be empty (mim); `Alias` is a list (`list_models` takes a text apart);
no value of `Metadata` is a mapping (model-index fails to merge it); names are in lower case (mim lowers what it is
asked for). Papers and code have addresses: `Code` is a path in this package, which has no public address yet.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

INDEX = 'model-index.yml'
METAFILE = 'metafile.yml'
LISTS = ('Collections', 'Models', 'Untrained')


@dataclass(frozen=True)
class Entry:
    """One model of a metafile.

    Attributes:
        metafile: Path from the repository's root.
        content: As it stands there.
        trained: Whether it is one of `Models`.
    """

    metafile: str
    content: Mapping[str, Any]
    trained: bool

    @property
    def name(self) -> str:
        return str(self.content['Name'])

    @property
    def zoo(self) -> bool:
        """Whether `make zoo` trains it."""
        return bool(self.content.get('Zoo'))


def list_metafiles(root: str | Path = '.') -> list[str]:
    """The metafiles that the index names, as paths from the root.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is none.
    """
    path = Path(root, INDEX)
    if not path.is_file():
        raise FileNotFoundError(f'There is no {path}: start from the root of a checkout of this repository.')
    content = _load(path)
    names = content.get('Import') if isinstance(content, Mapping) else None
    if not isinstance(names, list):
        raise ValueError(f"{path} must have a list 'Import' of metafiles.")
    return [str(name) for name in names]


def read_metafile(file: str | Path) -> dict[str, Any]:
    """A metafile, with all three lists.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is no YAML, or not of the form above.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f'{path} is not there: write it as mmdet_ext/zoo/metafile.py says, or correct {INDEX}.')
    content = _load(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path} must have the lists {", ".join(LISTS)}, but is a {type(content).__name__}.')
    for key in LISTS:
        rows = content.setdefault(key, []) if key == 'Untrained' else content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get('Name') for row in rows):
            raise ValueError(f"{path}: '{key}' must be a list (if an empty one) of entries that have a 'Name' each.")
    return content


def write_metafile(file: str | Path, content: Mapping[str, Any]) -> None:
    """Write a metafile; the comment at its top stays, and nothing is half-written."""
    path = Path(file)
    lines = path.read_text(encoding='utf-8').splitlines(keepends=True) if path.is_file() else []
    head = ''.join(lines[: next((place for place, line in enumerate(lines) if line[0] != '#'), len(lines))])
    ordered = {key: content[key] for key in dict.fromkeys([*LISTS, *content]) if key != 'Untrained' or content[key]}
    text = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=120)
    half = path.with_suffix('.tmp')
    half.write_text(head + text, encoding='utf-8')
    os.replace(half, path)


def entries_of(metafile: str, content: Mapping[str, Any]) -> Iterator[Entry]:
    """The entries of one metafile, the trained ones first."""
    yield from (Entry(metafile, row, trained=True) for row in content['Models'])
    yield from (Entry(metafile, row, trained=False) for row in content['Untrained'])


def read_entries(root: str | Path = '.') -> list[Entry]:
    """The entries of all metafiles.

    Raises:
        FileNotFoundError, ValueError: See `list_metafiles`, `read_metafile`.
    """
    return [entry for name in list_metafiles(root) for entry in entries_of(name, read_metafile(Path(root, name)))]


def replace_entry(content: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """A metafile's content where an entry is one of `Models`, as it is given here."""
    name = trained['Name']
    models, rest = ([dict(row) for row in content[key]] for key in ('Models', 'Untrained'))
    places = [place for place, row in enumerate(models) if row['Name'] == name]
    if places:
        models[places[0]] = dict(trained)
    else:
        models.append(dict(trained))
    return {**content, 'Models': models, 'Untrained': [row for row in rest if row['Name'] != name]}


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ValueError(f'{path} cannot be read as YAML: {error}') from error
