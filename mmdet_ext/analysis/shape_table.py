"""A table of a detector's modules: what each gives for an image of the config's size, and its parameters."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmdet_ext.engine.launch import load_config

from .report import format_number
from .shape_probe import build_model, config_size, count_flops, make_inputs, record_outputs
from .tables import markdown_table, write_csv

# Different outputs of a module (a head on several levels) that are spelt out.
_OUTPUTS = 6
_NO_FLOPS = 'On the meta device operations are not counted.'
_print = partial(print, flush=True)


@dataclass(frozen=True)
class Row:
    """One module.

    Attributes:
        name: As in `named_modules`; '' is the model.
        kind: Its class.
        output: Shapes it gave, the different ones of several calls; a dash where it was not called.
        calls: How often it was called.
        parameters: Its own, with those of modules that a depth limit hides; each parameter counts in one row.
        flops: Operations with all below; None where they are not known.
    """

    name: str
    kind: str
    output: str
    calls: int
    parameters: int
    flops: float | None


def run_shape_table(
    config: str | Path,
    *,
    size: Sequence[int] | None = None,
    batch: int = 1,
    depth: int | None = None,
    name: str | None = None,
    device: str = 'cpu',
    flops: bool = False,
    out: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Run a detector with random weights on a random image and table what its modules gave.

    Args:
        config: Any detector's.
        size: Height and width of the image; None for that of the config's pipelines.
        batch: Number of images.
        depth: Modules so many levels below the model at most: 1 are backbone, neck and heads. None for all.
        name: Regular expression; only modules in whose name it is found.
        device: 'cpu', 'cuda', or 'meta', which computes nothing: quick, for detectors of one stage.
        flops: Count operations, too, which takes a second run.
        out: `.md` or `.csv` file.
        dataset: See `load_config`.
        cfg_options: See `load_config`.
        say: Prints a line for the user.

    Returns:
        `rows` (the `Row`s of the table), `size` (height, width), `parameters` and `trainable` (of the whole model).

    Raises:
        FileNotFoundError: The config, or a file that the model reads, is not there.
        ValueError: A bad number, name, device or suffix, no size in the config, or a model that cannot be built or run.
    """
    if batch < 1 or (depth is not None and depth < 0):
        raise ValueError(f'batch must be at least 1 and depth at least 0, got {batch} and {depth}')
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f'--size takes height and width, both at least 1, got {list(size)}')
    if device not in ('cpu', 'cuda', 'meta'):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'meta', got {device!r}")
    if device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: there is no GPU here; use cpu or meta')
    if out is not None and Path(out).suffix not in ('.md', '.csv'):
        raise ValueError(f'--out {out}: a table is written as .md or .csv')
    try:
        pattern = re.compile(name or '')
    except re.error as error:
        raise ValueError(f'--name {name} is no regular expression: {error}') from error
    cfg = load_config(config, dataset=dataset, cfg_options=cfg_options)
    height, width = config_size(cfg) if size is None else size
    model = build_model(cfg, device)
    images, samples = make_inputs(cfg, model, (height, width), batch, device)
    outputs, mode = record_outputs(model, images, samples)
    operations: dict[str, float] = {}
    if flops:
        counted = count_flops(model, images, samples) if device != 'meta' else _NO_FLOPS
        if isinstance(counted, str):
            say(counted)
        else:
            operations = counted
    all_rows = make_rows(model, outputs, operations, depth)
    rows = [row for row in all_rows if pattern.search(row.name)]
    if not rows:
        raise ValueError(f'no module has {name!r} in its name; those below the model: {", ".join(_children(model))}')
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    head, cells = table_cells(rows, bool(operations))
    if out is not None and Path(out).suffix == '.csv':
        write_csv(out, head, cells)
    text = markdown_table(head, cells)
    say(f'{batch} image(s) of {height} x {width}, padded to {images.shape[2]} x {images.shape[3]}, mode {mode!r}\n')
    say(text)
    shown = sum(row.parameters for row in rows)
    sums = f'Parameters: {total:,} ({trainable:,} trainable); in these rows {shown:,}.'
    if operations:
        sums += f' GFLOPs: {operations[""] / 1e9:.3f}, a multiplication with its addition counted as one.'
    say(f'\n{sums}')
    if out is not None and Path(out).suffix == '.md':
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(f'{text}\n\n{sums}\n', encoding='utf-8')
    return {'rows': rows, 'size': (height, width), 'parameters': total, 'trainable': trainable}


def make_rows(
    model: nn.Module, outputs: Mapping[str, Sequence[str]], operations: Mapping[str, float], depth: int | None = None
) -> list[Row]:
    """The rows of all modules down to a depth; their parameters sum up to the model's.

    Args:
        model: The model.
        outputs: What each module gave, see `record_outputs`.
        operations: See `count_flops`; may be empty.
        depth: See `run_shape_table`.
    """
    shown: dict[str, nn.Module] = {}
    numbers: dict[str, int] = {}
    seen: set[int] = set()
    for name, module in model.named_modules():
        parts = name.split('.') if name else []
        if depth is None or len(parts) <= depth:
            shown[name] = module
        place = '.'.join(parts if depth is None else parts[:depth])
        # A shared module has its name from another branch, where the place above may be hidden or missing.
        while place not in shown:
            place = place.rpartition('.')[0]
        for parameter in module.parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                numbers[place] = numbers.get(place, 0) + parameter.numel()
    return [
        Row(
            name=name,
            kind=type(module).__name__,
            output=_join_outputs(outputs.get(name, ())),
            calls=len(outputs.get(name, ())),
            parameters=numbers.get(name, 0),
            flops=operations.get(name),
        )
        for name, module in shown.items()
    ]


def _join_outputs(calls: Sequence[str]) -> str:
    different = list(dict.fromkeys(calls))
    more = len(different) - _OUTPUTS
    return '; '.join(different[:_OUTPUTS]) + (f'; and {more} more' if more > 0 else '') or '–'


def table_cells(rows: Sequence[Row], with_flops: bool) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table; the model itself is called `(model)`."""
    head = ['module', 'type', 'output', 'calls', 'parameters', *(['GFLOPs'] if with_flops else [])]
    cells = []
    for row in rows:
        billions = None if row.flops is None else row.flops / 1e9
        line = [row.name or '(model)', row.kind, row.output, str(row.calls), str(row.parameters)]
        cells.append([*line, *([format_number(billions)] if with_flops else [])])
    return head, cells


def _children(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_children()]
