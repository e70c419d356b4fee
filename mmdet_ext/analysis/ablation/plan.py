"""From a grid file to runs: every config is made, checked and written before the first training starts."""

import contextlib
import copy
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_ext.engine.cfg_options import check_cfg_options
from mmdet_ext.engine.checkpoint import find_resumable, require_init
from mmdet_ext.engine.hooks.run_record_hook import RECORD
from mmdet_ext.engine.launch import load_config

from .cost import measure_cost
from .grid import Arm, Grid
from .identity import config_identity, data_identity, describe_difference, digest, evaluation_settings
from .restore import restore_records

PLAN = 'ablation_run.json'


@dataclass(frozen=True)
class Run:
    """One training: an arm with a seed.

    Attributes:
        arm: Name of the arm.
        seed: Of the training.
        folder: Its work directory.
        config: The whole config, written beside the folder.
        identity: See `config_identity`.
        data: See `data_identity`.
        cost: Parameters and FLOPs, see `measure_cost`.
    """

    arm: str
    seed: int
    folder: Path
    config: Path
    identity: dict[str, str]
    data: dict[str, str]
    cost: dict[str, Any]

    @property
    def name(self) -> str:
        """For a person, and for a queue."""
        return f'{self.config.parent.name}/{self.folder.name}'

    @property
    def finished(self) -> bool:
        """Whether the training has written its record."""
        return (self.folder / RECORD).is_file()

    @property
    def checkpoint(self) -> Path | None:
        """What an interrupted training goes on from."""
        return find_resumable(self.folder)


def plan_runs(grid: Grid, restore: str | Path | None = None, collect: bool = False) -> list[Run]:
    """Make the runs of a grid, seed by seed, and write their configs and what they are below its work directory.

    Args:
        grid: The grid file.
        restore: See `restore_records`.
        collect: Nothing will be trained, so the weights that a run starts from need not be there.

    Raises:
        FileNotFoundError: Data, a config, or the weights of a seed (`{seed}` in `load_from`) are not there.
        ValueError: An option that nothing knows, a model that cannot be built, arms that are measured differently or
            on different data, or a folder that holds a run of another config or other data.
    """
    configs = {arm.name: _arm_config(grid, arm) for arm in grid.arms}
    identities = {name: config_identity(cfg) for name, cfg in configs.items()}
    data = {name: data_identity(cfg) for name, cfg in configs.items()}
    seeded = {
        (name, seed): identity | config_identity(Config(_own_weights(configs[name], seed)))
        for name, identity in identities.items()
        for seed in grid.seeds
    }
    check_comparable({name: evaluation_settings(identity) for name, identity in identities.items()}, 'measured by')
    check_comparable(data, 'trained or measured on')
    folders = {arm.name: grid.work_dir.absolute() / arm.folder for arm in grid.arms}
    for name, folder in folders.items():
        for seed in grid.seeds:
            _check_folder(folder / f'seed_{seed}', (seeded[name, seed], identities[name]), data[name])
    costs = {name: _cost(name, cfg, folders[name], digest(identities[name])) for name, cfg in configs.items()}
    grid_arms = {arm.name: arm for arm in grid.arms}
    runs = []
    for seed in grid.seeds:
        for arm in grid.arms:
            place, seed_name = folders[arm.name], f'seed_{seed}'
            run = Run(
                arm.name, seed, place / seed_name, place / f'{seed_name}.py',
                seeded[arm.name, seed], data[arm.name], costs[arm.name],
            )  # fmt: skip
            runs.append(run)
    for run in restore_records(restore, runs) if restore is not None else ():
        # Which weights it started from is not known here: the arm's identity, with `{seed}` as it is.
        _write_plan(replace(run, identity=identities[run.arm]), grid_arms[run.arm])
    for run in () if collect else unfinished(runs):
        for path in _own_weights(configs[run.arm], run.seed).values():
            require_init(path, grid.file)
    for arm in grid.arms:
        _write(unfinished([run for run in runs if run.arm == arm.name]), arm, configs[arm.name])
    return runs


def check_comparable(settings: dict[str, dict[str, str]], verb: str) -> None:
    """Refuse what must not stand in one table.

    Args:
        settings: Name of an arm or run to what has to be the same for all of them.
        verb: How it belongs to them, for the sentence.

    Raises:
        ValueError: Two of them differ; the message names both, and where they differ.
    """
    first, *others = settings
    for other in others:
        difference = describe_difference(settings[first], settings[other])
        if difference:
            raise ValueError(
                f"'{first}' and '{other}' are {verb} different things, so their figures must not stand in one table: "
                f'{difference}. Make them the same, or use two grid files.'
            )


def _arm_config(grid: Grid, arm: Arm) -> Config:
    silence = io.StringIO()
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            cfg = load_config(arm.config, dataset=grid.dataset)
            # Where a training only warns, a table would show two arms that are the same.
            if unknown := check_cfg_options(cfg, arm.options):
                raise ValueError(' '.join(unknown))
            cfg.merge_from_dict(copy.deepcopy(dict(arm.options)))
    except ValueError as error:
        raise ValueError(f'{grid.file}: arm {arm.name!r}: {str(error).replace("--cfg-options ", "")}') from error
    if cfg.get('val_dataloader') is None or cfg.get('val_evaluator') is None:
        raise ValueError(f'{arm.config} has no validation (val_dataloader, val_evaluator), so it cannot be measured')
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='RunRecordHook')]
    return cfg


def _own_weights(cfg: Config, seed: int) -> dict[str, str]:
    """`{seed}` in `load_from` stands for the seed: each goes on from a detector of its own."""
    start = str(cfg.get('load_from'))
    return {'load_from': start.replace('{seed}', str(seed))} if '{seed}' in start else {}


def _check_folder(folder: Path, configs: Sequence[dict[str, str]], data: dict[str, str]) -> None:
    """Refuse a folder that another training has written into; what holds no weights may be overwritten."""
    if not any(folder.glob('*.pth')) and not (folder / RECORD).is_file():
        return
    advice = 'Name another work_dir in the grid file, or remove that folder.'
    file = folder / PLAN
    if not file.is_file():
        raise ValueError(f'{folder} holds a training that is not of an ablation. {advice}')
    stored = json.loads(file.read_text(encoding='utf-8'))
    differences = {
        'config': None if stored['config'] in configs else describe_difference(stored['config'], configs[0]),
        'data': describe_difference(stored['data'], data),
    }
    for what, difference in differences.items():
        if difference:
            raise ValueError(f'{folder} holds a training with another {what}, stored and now: {difference}. {advice}')


def _cost(name: str, cfg: Config, folder: Path, identity: str) -> dict[str, Any]:
    """Measured once for an arm, then read from its folder."""
    file = folder / 'cost.json'
    if file.is_file():
        stored = json.loads(file.read_text(encoding='utf-8'))
        if stored['config'] == identity:
            return stored
    try:
        cost = {'config': identity, **measure_cost(cfg)}
    except Exception as error:  # whatever a constructor raises
        raise ValueError(f'arm {name!r}: the model cannot be built: {type(error).__name__}: {error}') from error
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(cost, indent=2) + '\n', encoding='utf-8')
    return cost


def _write(runs: Sequence[Run], arm: Arm, cfg: Config) -> None:
    # Formatting a config takes longer than all the rest: once for all seeds.
    text = cfg.pretty_text if runs else ''
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        own = {'work_dir': str(run.folder), 'randomness': {**(cfg.get('randomness') or {}), 'seed': run.seed}}
        own |= _own_weights(cfg, run.seed)
        lines = [f'{key} = {value!r}' for key, value in own.items()]
        run.config.write_text('\n'.join([text.rstrip(), *lines, '']), encoding='utf-8')
        _write_plan(run, arm)


def _write_plan(run: Run, arm: Arm) -> None:
    content = {
        'arm': arm.name,
        'seed': run.seed,
        'base': str(arm.config),
        'options': dict(arm.options),
        'config': run.identity,
        'data': run.data,
    }
    (run.folder / PLAN).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """The runs that are still to be done."""
    return [run for run in runs if not run.finished]
