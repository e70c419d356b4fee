"""The grid file of an ablation: which configs, with which options and seeds, are compared.

```yaml
base: ../relation-faster-rcnn_r18-gn_fpn_chest-phantom.py   # from this file, else from the current folder
dataset: DATA_CONFIG              # optional: loaders, evaluators and classes from there
seeds: [0, 1, 2]
work_dir: work_dirs/ablations/NAME                          # the default, from the name of this file
metrics: [coco/bbox_mAP]          # as the evaluator calls them; default: everything with mAP in its name
means:                            # further columns, each the mean of some metrics of a run
  gateways: [coco/exclusiveGateway_precision, coco/parallelGateway_precision]
reference: plain                  # the arm that differences refer to; default: the first
options: {train_cfg.max_epochs: 4}                          # of every arm; in load_from, {seed} stands for the seed
arms:                             # each a config (default: base) with options of its own
  plain: {config: ../../scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py}
  gate: {options: {model.roi_head.bbox_head.fusion: gate}}
grid:                             # and every combination of these options of base
  model.roi_head.bbox_head.insert: [after_fcs, after_each_fc]
```
"""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_KEYS = ('base', 'dataset', 'seeds', 'work_dir', 'metrics', 'means', 'reference', 'options', 'arms', 'grid')
_ARM_KEYS = ('config', 'options')


@dataclass(frozen=True)
class Arm:
    """One row of the table: a config and what is changed in it (dotted key to value)."""

    name: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The name without what a shell or file system may dislike."""
        return re.sub(r'[^\w.=,+#-]', '_', self.name)


@dataclass(frozen=True)
class Grid:
    """A grid file as it was read; the fields are its keys, `arms` holds those of `grid` too."""

    file: Path
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    work_dir: Path
    reference: str
    metrics: tuple[str, ...] = ()
    means: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dataset: str | None = None


class _Loader(yaml.SafeLoader):
    """YAML, where `1e-3` is a number, and a name that stands twice is an error: one of the two would get lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = Counter(key.value for key, _ in node.value)
        twice = [name for name, number in names.items() if number > 1]
        if twice:
            raise ValueError(f'{twice[0]!r} stands twice{node.start_mark}')
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?\d+(\.\d*)?[eE][-+]?\d+$'), list('-+0123456789')
)


def nearest(name: str, names: Iterable[str]) -> str:
    """A phrase to append to a sentence about an unknown name: the nearest one, or all there are."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"the nearest is '{near[0]}'" if near else f'there are: {", ".join(names)}'


def read_grid(file: str | Path) -> Grid:
    """Read a grid file, YAML or JSON.

    Raises:
        FileNotFoundError: The file, or a config that it names, is not there.
        ValueError: It is no grid: an unknown or doubled key, a value of the wrong kind, no arm, two arms of one name.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f'There is no grid file {path} (looked from {Path.cwd()}).')
    try:
        content = yaml.load(path.read_text(encoding='utf-8'), _Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as YAML: {error}') from error
    try:
        return _make_grid(path, content)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _make_grid(path: Path, content: Any) -> Grid:
    content = _mapping('the file', content, _KEYS)
    base, dataset = (_config(path, content.get(key), key) for key in ('base', 'dataset'))
    common = _mapping('options', content.get('options'))
    arms = []
    for name, value in _mapping('arms', content.get('arms')).items():
        own = _mapping(f'arm {name!r}', value, _ARM_KEYS)
        config = _config(path, own.get('config'), f'arm {name!r}') or base
        if config is None:
            raise ValueError(f"arm {name!r} has no config: write 'base: CONFIG' at the top, or 'config' into the arm")
        arms.append(Arm(str(name), config, {**common, **_mapping(f'options of arm {name!r}', own.get('options'))}))
    factors = _mapping('grid', content.get('grid'))
    if factors and base is None:
        raise ValueError("'grid' changes options of 'base': write 'base: CONFIG'")
    arms += [Arm(name, str(base), {**common, **options}) for name, options in _combine(factors)]
    _check_names(arms)
    reference = str(content.get('reference', arms[0].name))
    if reference not in (names := [arm.name for arm in arms]):
        raise ValueError(f'reference {reference!r} is no arm; {nearest(reference, names)}')
    return Grid(
        file=path,
        arms=tuple(arms),
        seeds=_seeds(content.get('seeds', [0])),
        work_dir=Path(content.get('work_dir', Path('work_dirs/ablations', path.stem))),
        reference=reference,
        metrics=tuple(str(name) for name in _list('metrics', content.get('metrics', []))),
        means={name: _means(name, value) for name, value in _mapping('means', content.get('means')).items()},
        dataset=dataset,
    )


def _mapping(what: str, value: Any, keys: Sequence[str] | None = None) -> dict[str, Any]:
    value = {} if value is None else value
    if not isinstance(value, Mapping):
        raise ValueError(f'{what} must be a mapping (name: value), got {value!r}')
    for key in value if keys else ():
        if key not in keys:  # type: ignore[operator]
            raise ValueError(f'nothing knows {key!r} in {what}; {nearest(str(key), keys)}')  # type: ignore[arg-type]
    return {str(key): item for key, item in value.items()}


def _list(what: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f'{what} must be a list, got {value!r}')
    return value


def _means(name: str, value: Any) -> tuple[str, ...]:
    if not (members := _list(f'means: {name}', value)):
        raise ValueError(f'means: {name} has no metrics')
    return tuple(str(member) for member in members)


def _seeds(value: Any) -> tuple[int, ...]:
    seeds = _list('seeds', value)
    right = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not right or len(set(seeds)) < len(seeds):
        raise ValueError(f'seeds must be a list of different whole numbers from 0 on, got {value!r}')
    return tuple(seeds)


def _config(path: Path, name: Any, what: str) -> str | None:
    """A config's path, from the grid file's folder or the current one."""
    if name is None:
        return None
    for place in (path.parent / str(name), Path(str(name))):
        if place.is_file():
            return str(place)
    raise FileNotFoundError(f'{path}: {what}: there is no config {name}, neither from {path.parent} nor from here.')


def _combine(factors: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and options of every combination; a key is shortened to its last word where that tells it apart."""
    for key, values in factors.items():
        if not _list(f'grid: {key}', values):
            raise ValueError(f'grid: {key} has no values')
    last = Counter(key.split('.')[-1] for key in factors)
    short = [word if last[word := key.split('.')[-1]] == 1 else key for key in factors]
    combinations = []
    for picks in itertools.product(*(enumerate(values) for values in factors.values())) if factors else ():
        # A dict or list is too long for a name: its place in the grid stands for it.
        labels = [f'#{index}' if isinstance(value, dict | list) else str(value) for index, value in picks]
        name = ','.join(f'{word}={label}' for word, label in zip(short, labels, strict=True))
        combinations.append((name, {key: value for key, (_, value) in zip(factors, picks, strict=True)}))
    return combinations


def _check_names(arms: Sequence[Arm]) -> None:
    if not arms:
        raise ValueError("there is nothing to compare: write 'arms' or 'grid'")
    for folder, number in Counter(arm.folder for arm in arms).items():
        if number > 1 or not folder.strip('.'):
            names = ' and '.join(repr(arm.name) for arm in arms if arm.folder == folder)
            raise ValueError(f'{names} would share the folder {folder!r} or have none: choose other names')
