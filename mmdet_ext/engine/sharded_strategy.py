"""FSDP for MMEngine's FlexibleRunner that clips, saves and resumes as one process would, with or without a GPU."""

import os
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper
from mmengine.registry import FUNCTIONS, STRATEGIES
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

# What FSDP turns into names; the rest of an OptimWrapper's state (loss scale, base rate) is the same on every rank.
_SHARDED = ('state', 'param_groups')


@FUNCTIONS.register_module()
def wrap_classes(module: nn.Module, recurse: bool, nonwrapped_numel: int, names: Sequence[str]) -> bool:
    """An `auto_wrap_policy` that makes units of the modules of some classes, by their names.

    A unit gathers its weights while its own `forward` runs. Only modules that are called may be units, and none whose
    weights others read: `ResLayer` or `SwinBlockSequence` are, heads are not, for detectors call their `loss`, and a
    relation reads the weights of the base classifier. mmengine's policies by size do not know that.

    Args:
        module: Asked about.
        recurse: True asks whether to look at its children, False whether it is a unit.
        nonwrapped_numel: Parameters in it that belong to no unit yet; not looked at.
        names: Of the classes.
    """
    return recurse or type(module).__name__ in names


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """FSDP whose checkpoints are those of a plain Runner: one file, which `tools/test.py` reads and DDP goes on from.

    How it deviates from mmengine's `FSDPStrategy`, each deviation with a test:

    - On a machine without accelerator the ranks shard over gloo (mmengine passes the rank as the number of a GPU).
    - `state_dict_cfg='full'` is the default, one file, instead of a folder with a file per rank.
    - `clip_grad=dict(max_norm=...)` clips by the norm of all shards; mmengine's wrapper would take a rank's own.
    - The optimiser is saved and resumed where parameters have options of their own (`paramwise_cfg`) and with torch
      >= 2.1, which has turned round the arguments of FSDP's function; a DDP run's checkpoint is resumed, too.

    Args:
        model_wrapper: See mmengine; `auto_wrap_policy=dict(type='wrap_classes', names=[...])` names the units.
        state_dict_cfg: 'full', or what mmengine takes beside it.
        **kwargs: See mmengine.
    """

    def __init__(
        self, *, model_wrapper: dict | None = None, state_dict_cfg: str | dict = 'full', **kwargs: Any
    ) -> None:
        wrapper = dict(type='MMFullyShardedDataParallel', **(model_wrapper or {}))
        if get_device() == 'cpu':
            wrapper.setdefault('device_id', 'cpu')
        super().__init__(model_wrapper=wrapper, state_dict_cfg=state_dict_cfg, **kwargs)
        if get_device() == 'cpu':
            # What is there already would be offloaded as a view of memory that is freed: a segmentation fault.
            self.state_dict_config.offload_to_cpu = self.optim_state_dict_config.offload_to_cpu = False

    def build_optim_wrapper(self, optim_wrapper: Any, model: nn.Module | None = None) -> Any:
        """Build it as mmengine does, and clip by the norm over all ranks.

        Raises:
            ValueError: An option of `clip_grad` that FSDP does not have.
        """
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is torch.nn.utils.clip_grad_norm_:
            unknown = set(wrapper.clip_grad_kwargs) - {'max_norm', 'norm_type'}
            if unknown:
                raise ValueError(f'clip_grad: FSDP clips by max_norm and norm_type alone, got {", ".join(unknown)} too')
            wrapper.clip_func = self._clip_grad_norm
        return wrapper

    def _clip_grad_norm(self, params: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
        return self.model.clip_grad_norm_(max_norm, norm_type)

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        """Save it as mmengine does; one file appears whole or not at all."""
        if not self._is_full_state_dict():
            super().save_checkpoint(filename, **kwargs)
            return
        super().save_checkpoint(f'{filename}.part', **kwargs)
        if is_main_process():
            os.replace(f'{filename}.part', filename)

    def optim_state_dict(self) -> dict[str, Any]:
        """State of the optimiser with names in place of numbers; of a full one every rank but the first has nothing."""
        wrapper: OptimWrapper = self.optim_wrapper
        state = FullyShardedDataParallel.optim_state_dict(self.model, wrapper.optimizer)
        return {**state, **{key: value for key, value in wrapper.state_dict().items() if key not in _SHARDED}}

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of an FSDP run, or of a plain or DDP run of the same config."""
        wrapper: OptimWrapper = self.optim_wrapper
        state = _name_params({key: state_dict[key] for key in _SHARDED}, self.model, wrapper.optimizer)
        state = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model, optim=wrapper.optimizer, optim_state_dict=state
        )
        wrapper.load_state_dict({**state_dict, **state})


def _name_params(state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimiser with the names of parameters in place of their numbers; names stay.

    Parameters have the same order in both: the constructor of an OptimWrapper goes through the model's modules.
    """
    saved = list(chain.from_iterable(group['params'] for group in state['param_groups']))
    if not all(isinstance(key, int) for key in saved):
        return state
    names = {id(value): name.replace('_fsdp_wrapped_module.', '') for name, value in model.named_parameters()}
    own = [names[id(value)] for group in optimizer.param_groups for value in group['params']]
    new = dict(zip(saved, own, strict=True))
    groups = [{**group, 'params': [new[key] for key in group['params']]} for group in state['param_groups']]
    return {'state': {new[key]: value for key, value in state['state'].items()}, 'param_groups': groups}
