"""What the ranks of a training send each other in a step: gradients, shards, and the counts of losses and heads."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdet_ext.engine.launch import load_config
from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import collect_versions, find_commit

from .shape_probe import build_model, make_inputs
from .tables import markdown_table

# Gradients and weights are sent in float32, also with automatic mixed precision.
BYTES = 4
_SIDE = 128
_OBJECTS = 3
_print = partial(print, flush=True)


@dataclass(frozen=True)
class Volume:
    """A step of one config on a number of ranks; megabytes (1e6 bytes) that each rank sends, by ring algorithms.

    Attributes:
        config: Stem of the file.
        ranks: Their number n.
        parameters: Of the model.
        trained: Those with a gradient.
        ddp_mb: All-reduce of the gradients: 2 (n - 1) / n of their size.
        fsdp_mb: All-gather of the weights for the forward and for the backward pass, and reduce-scatter of the
            gradients: (n - 1) / n of the size of each.
        calls: Further collectives of a step, by kind: those of losses, heads and norm layers.
        calls_mb: What those send: 2 (n - 1) / n of the size of all-reduced tensors, (n - 1) / n of others.
        ddp_ms: The least time for `ddp_mb` over the link.
        fsdp_ms: The same for `fsdp_mb`.
    """

    config: str
    ranks: int
    parameters: int
    trained: int
    ddp_mb: float
    fsdp_mb: float
    calls: Mapping[str, int]
    calls_mb: float
    ddp_ms: float
    fsdp_ms: float


def run_communication(
    configs: Sequence[str | Path],
    *,
    ranks: Sequence[int] = (8, 64),
    link: float = 12.5,
    out: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> list[Volume]:
    """Table what each rank sends in a step of these configs.

    Parameters are counted on the meta device. The collectives of losses and heads are watched while the model trains a
    step on two random images, in a process group that only pretends to have other ranks.

    Args:
        configs: Of any detectors.
        ranks: Numbers of ranks.
        link: What a rank can send, in 1e9 bytes a second; 12.5 is a network of 100 Gbit/s.
        out: `.json` file for the figures.
        dataset: See `load_config`.
        cfg_options: See `load_config`.
        say: Prints a line for the user.

    Returns:
        A row for each config and number of ranks.

    Raises:
        FileNotFoundError: A config, or a file that a model reads, is not there.
        ValueError: A bad number or suffix, a model that cannot be built or trained, or this process is a rank already.
    """
    if not ranks or min(ranks) < 2:
        raise ValueError(f'--ranks takes numbers of at least 2, got {list(ranks)}')
    if not link > 0:
        raise ValueError(f'--link takes a positive number of GB/s, got {link}')
    if out is not None and Path(out).suffix != '.json':
        raise ValueError(f'--out {out}: figures are written as .json')
    rows = []
    for config in configs:
        cfg = load_config(config, dataset=dataset, cfg_options=cfg_options)
        parameters, trained = count_parameters(build_model(cfg, 'meta'))
        calls = watch_step(cfg)
        rows += [tell_volume(Path(config).stem, number, parameters, trained, calls, link) for number in ranks]
    result = {
        'link_gb_s': link,
        'versions': collect_versions(),
        'commit': find_commit(),
        'rows': [asdict(row) for row in rows],
    }
    say(format_communication(result))
    if out is not None:
        write_json(out, result, indent=2)
    return rows


def format_communication(result: Mapping[str, Any]) -> str:
    """The Markdown table of the figures in a file of `run_communication`, and how to read it."""
    table = markdown_table(*table_cells([Volume(**row) for row in result['rows']]))
    note = (
        f'MB that each rank sends in a step, float32, ring algorithms; ms: at least, at {result["link_gb_s"]:g} GB/s.'
    )
    return f'{table}\n\n{note}\n'


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """All parameters of a model, and those with a gradient."""
    numbers = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(number for number, _ in numbers), sum(number for number, trained in numbers if trained)


def tell_volume(
    config: str, ranks: int, parameters: int, trained: int, calls: Sequence[tuple[str, int]], link: float
) -> Volume:
    """The row of a config.

    Args:
        config: Its name.
        ranks: Number of ranks.
        parameters: Of the model.
        trained: Those with a gradient.
        calls: Kind and size in bytes of the other collectives of a step, see `watch_step`.
        link: In GB/s.
    """
    share = (ranks - 1) / ranks / 1e6
    ddp = 2 * share * BYTES * trained
    fsdp = share * BYTES * (2 * parameters + trained)
    small = sum(share * size * (2 if kind == 'allreduce' else 1) for kind, size in calls)
    return Volume(
        config=config,
        ranks=ranks,
        parameters=parameters,
        trained=trained,
        ddp_mb=ddp,
        fsdp_mb=fsdp,
        calls=dict(Counter(kind for kind, _ in calls)),
        calls_mb=small,
        ddp_ms=ddp / link,
        fsdp_ms=fsdp / link,
    )


class CollectiveWatch(TorchDispatchMode):
    """Notes every collective of the operators that run within it.

    Attributes:
        seen: Kind ('allreduce', 'allgather', ...) and bytes of the tensors of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Note a call of `torch.distributed` and let it run."""
        if func.namespace == 'c10d':
            # Of what a gather writes and reads, what it writes is the larger, and comes first.
            tensors = [leaf for leaf in tree_leaves(args[0]) if isinstance(leaf, Tensor)]
            kind = func.overloadpacket.__name__.strip('_')
            self.seen.append((kind, sum(tensor.nbytes for tensor in tensors)))
        return func(*args, **(kwargs or {}))


@contextmanager
def pretended_ranks(number: int = 2) -> Iterator[None]:
    """A process group in which collectives return at once and change nothing.

    Raises:
        ValueError: This process is in a group already.
    """
    if dist.is_initialized():
        raise ValueError('this process is a rank of a training; start the tool alone, without torchrun')
    # torch has it for its own tests; it registers the backend 'fake'.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group('fake', rank=0, world_size=number, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def watch_step(cfg: Config) -> list[tuple[str, int]]:
    """Kind and bytes of the collectives that a model calls in a training step, without those of DDP or FSDP.

    Raises:
        FileNotFoundError: The model reads a file that is not there.
        ValueError: It cannot be built or trained.
    """
    side = cfg.get('input_size', _SIDE)
    model: Any = build_model(cfg, 'cpu').train()
    images, samples = make_inputs(cfg, model, (side, side), batch=2, device='cpu')
    for sample in samples:
        sample.gt_instances, sample.ignored_instances = _objects(side, _OBJECTS), _objects(side, 0)
    with pretended_ranks(), CollectiveWatch() as watch:
        try:
            loss, _ = model.parse_losses(model(images, samples, mode='loss'))
            loss.backward()
        except Exception as error:
            raise ValueError(f'the model of {cfg.filename} cannot be trained a step: {error}') from error
    return watch.seen


def _objects(side: int, number: int) -> InstanceData:
    """Boxes of the first class with masks and landmarks, whatever a head reads of them."""
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.4, 0.9, 0.9], [0.2, 0.6, 0.3, 0.7]])[:number] * side
    points = boxes.reshape(number, 2, 2).mean(1, keepdim=True).expand(number, 5, 2)
    return InstanceData(
        bboxes=boxes,
        labels=torch.zeros(number, dtype=torch.long),
        masks=BitmapMasks(np.ones((number, side, side), dtype=np.uint8), side, side),
        keypoints=torch.cat([points, torch.full_like(points[..., :1], 2)], dim=-1),
    )


def table_cells(rows: Sequence[Volume]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table."""
    head = ['config', 'trained / all parameters', 'ranks', 'DDP', 'FSDP', 'counts of losses and heads']
    cells = []
    for row in rows:
        calls = ', '.join(f'{number} {kind}' for kind, number in row.calls.items())
        counts = f'{calls}: {row.calls_mb * 1e3:.2f} kB' if calls else 'none'
        both = f'{row.trained / 1e6:.1f} / {row.parameters / 1e6:.1f} M'
        volumes = [f'{mb:.0f} MB, {ms:.1f} ms' for mb, ms in ((row.ddp_mb, row.ddp_ms), (row.fsdp_mb, row.fsdp_ms))]
        cells.append([row.config, both, str(row.ranks), *volumes, counts])
    return head, cells
