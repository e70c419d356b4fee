"""What a detector costs: its parameters and the operations of one image."""

import contextlib
import copy
import io
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode


def measure_cost(cfg: Config) -> dict[str, Any]:
    """Count parameters, and FLOPs on the first image of the validation set.

    The operations of a real forward pass are counted (convolutions, matrix products, attention), one multiply-add as
    one, as in mmdet's tables. mmengine's counter is not used: it traces the model, which detectors whose code looks at
    shapes do not survive, and it does not know attention. Weights are fresh ones of a fixed seed, so the number of
    proposals, of which the operations of a box head depend, is alike in detectors of the same backbone and RPN, not
    that of trained weights.

    Args:
        cfg: Config with `model` and `val_dataloader`.

    Returns:
        `parameters`, `flops` (None where the pass failed), `flops_note` (why it failed, else the input size).
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(0)
        # A detector writes into the config of its heads.
        model = MODELS.build(copy.deepcopy(cfg.model)).eval()
        cost: dict[str, Any] = {'parameters': sum(parameter.numel() for parameter in model.parameters())}
        try:
            dataset = DATASETS.build(cfg.val_dataloader.dataset)
            data = model.data_preprocessor(pseudo_collate([dataset[0]]))
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                model(**data, mode='tensor')
        except Exception as error:  # any model and data: the table goes on without this cell
            reason = str(error).splitlines()[0] if str(error) else ''
            return {**cost, 'flops': None, 'flops_note': f'{type(error).__name__}: {reason}'}
    height, width = data['inputs'].shape[-2:]
    return {**cost, 'flops': counter.get_total_flops() // 2, 'flops_note': f'one image of {width} x {height}'}
