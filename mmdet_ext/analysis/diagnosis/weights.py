"""Findings on the weights alone: parts that are frozen, were never trained, or are not numbers."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmdet.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_ext.analysis.relation_probe.detector import quiet
from mmdet_ext.datasets.problems import listing

# A weight that has been trained has another spread than a fresh one, by more than this and what chance does.
_SPREAD, _CHANCE = 0.03, 4


def weight_findings(cfg: Config, model: nn.Module, meta: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What is odd about the weights of a trained detector, a sentence for each finding.

    - 'not_finite': values that are no numbers.
    - 'zero': a layer that gives nothing.
    - 'untrained': layers of neck and heads that are as they were initialised, told by biases and norms, which begin
      with fixed values, and by the spread of the rest.
    - 'frozen': layers of neck and heads that the config keeps from training, by `requires_grad` or a learning rate of
      0.
    - 'frozen_backbone': the whole backbone is kept from training.
    - 'norm_statistics': BatchNorm that never saw an image.
    - 'early': a checkpoint from long before the end.

    Args:
        cfg: Config with `model` and, where parts may have learning rates of their own, `optim_wrapper`.
        model: The detector with its trained weights.
        meta: The checkpoint's `meta`.
    """
    found = {
        'not_finite': _not_finite(model),
        'zero': _zero(model),
        'untrained': _untrained(cfg, model),
        **_frozen(cfg, model),
        'norm_statistics': _norm_statistics(model),
        'early': _early(cfg, meta or {}),
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def _not_finite(model: nn.Module) -> str:
    names = [name for name, value in model.state_dict().items() if not bool(torch.isfinite(value).all())]
    return f'{listing(names)} hold values that are not finite numbers' if names else ''


def _zero(model: nn.Module) -> str:
    names = [name for name, value in _layer_weights(model) if value.numel() > 1 and not bool(value.any())]
    return f'all weights of {listing(names)} are zero' if names else ''


def _layer_weights(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            yield name, layer.weight


def _untrained(cfg: Config, model: nn.Module) -> str:
    one, other = (dict(fresh_model(cfg, seed).named_modules()) for seed in (0, 1))
    fresh = {name: _as_initialised(layer, one[name], other[name]) for name, layer in head_layers(model).items()}
    names = {name for name, found in fresh.items() if found}
    unknown = {name for name, found in fresh.items() if found is None}
    why = 'what begins with a fixed value (biases, norms) still has it, the rest has the spread of fresh weights'
    return f'{_listing(model, names, unknown)}: as initialised, {why}' if names else ''


def _as_initialised(layer: nn.Module, one: nn.Module, other: nn.Module) -> bool | None:
    """Whether a layer is as fresh: exactly so where two initialisations agree, else in the spread of its values.

    None where they agree in nothing, so that it cannot be told.
    """
    fixed = 0
    for key, value in layer.named_parameters(recurse=False):
        first, second = one.get_parameter(key), other.get_parameter(key)
        if torch.equal(first, second):
            if not torch.equal(value.cpu(), first):
                return False
            fixed += first.numel()
        elif first.numel() > 1:
            allowed = max(_SPREAD, _CHANCE / (2 * first.numel()) ** 0.5)
            if abs(float(value.detach().std()) / float(first.detach().std()) - 1) > allowed:
                return False
    # A single number may be as it was by chance.
    return True if fixed > 1 else None


def fresh_model(cfg: Config, seed: int = 0) -> nn.Module:
    """The detector of a config as it is before training, without weights that would be downloaded."""
    node = copy.deepcopy(cfg.model)
    _drop_pretrained(node)
    # Initial values are drawn: the process must not notice.
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        model = MODELS.build(node)
        model.init_weights()
    return model


def _drop_pretrained(node: Any) -> None:
    if isinstance(node, Mapping):
        init = node.get('init_cfg')
        if isinstance(init, Mapping) and init.get('type') == 'Pretrained':
            node['init_cfg'] = None  # type: ignore[index]
        if isinstance(node.get('pretrained'), str):
            node['pretrained'] = None  # type: ignore[index]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            _drop_pretrained(child)


def _frozen(cfg: Config, model: nn.Module) -> dict[str, str]:
    rates = learning_rates(cfg, model)
    still = {name for name, value in model.named_parameters() if not value.requires_grad or rates.get(name, 1.0) == 0}
    names = {
        name
        for name, layer in head_layers(model).items()
        if all(f'{name}.{key}' in still for key, _ in layer.named_parameters(recurse=False))
    }
    why = 'kept from training by the config (requires_grad, or a learning rate of 0 in paramwise_cfg)'
    found = {'frozen': f'{_listing(model, names)}: {why}'} if names else {}
    backbone = [name for name, _ in model.named_parameters() if name.startswith('backbone.')]
    if backbone and still.issuperset(backbone):
        found['frozen_backbone'] = f'the whole backbone: {why}'
    return found


def head_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers with weights of their own, by name, but for those of the backbone."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if not name.startswith(('backbone', 'data_preprocessor'))
        and next(layer.parameters(recurse=False), None) is not None
    }


def _listing(model: nn.Module, names: set[str], unknown: Iterable[str] = ()) -> str:
    """Names of layers; of a part of whose layers all are meant, or unknown, the name of the part."""
    said: list[str] = []
    for part in parts(model):
        own = {name for name in head_layers(model) if name == part or name.startswith(f'{part}.')}
        if own & names and own <= names.union(unknown):
            said.append(part)
            names = names - own
    return listing([*said, *(name for name in head_layers(model) if name in names)], 8)


def parts(model: nn.Module) -> list[str]:
    """Names of the parts of a detector that make sense one by one: backbone, neck, RPN, box heads and so on."""
    found = []
    for name, child in model.named_children():
        if name == 'roi_head':
            for own, head in child.named_children():
                inner = [f'{own}.{place}' for place in range(len(head))] if isinstance(head, nn.ModuleList) else [own]
                found += [f'{name}.{place}' for place in inner]
        elif name != 'data_preprocessor':
            found.append(name)
    return found


def learning_rates(cfg: Config, model: nn.Module) -> dict[str, float]:
    """Learning rate of each parameter by name, as the config's optimizer has it; empty where none can be built."""
    node = copy.deepcopy(cfg.get('optim_wrapper') or {})
    if 'optimizer' not in node:
        return {}
    kind = node.pop('constructor', 'DefaultOptimWrapperConstructor')
    paramwise = node.pop('paramwise_cfg', None)
    # Mixed precision and the like have no say in it, and may need a GPU.
    wrapper = dict(type='OptimWrapper', optimizer=node['optimizer'])
    try:
        with quiet():
            constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
                dict(type=kind, optim_wrapper_cfg=wrapper, paramwise_cfg=paramwise)
            )
            groups = constructor(model).optimizer.param_groups
    except Exception:  # a constructor for several models, an optimizer that is not installed here
        return {}
    by_identity = {id(value): float(group['lr']) for group in groups for value in group['params']}
    return {name: by_identity.get(id(value), 0.0) for name, value in model.named_parameters()}


def _norm_statistics(model: nn.Module) -> str:
    names = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and layer.running_mean is not None
        and layer.running_var is not None
        and not bool(layer.running_mean.any())
        and bool((layer.running_var == 1).all())
    ]
    return (
        f'the statistics of {listing(names)} are those of a layer that never saw an image (mean 0, variance 1): it was '
        'in evaluation mode from the beginning (norm_eval, frozen stages), without a checkpoint to start from'
        if names
        else ''
    )


def _early(cfg: Config, meta: Mapping[str, Any]) -> str:
    loop = cfg.get('train_cfg') or {}
    for key, limit, unit in (('epoch', 'max_epochs', 'epochs'), ('iter', 'max_iters', 'iterations')):
        done, wanted = meta.get(key), loop.get(limit)
        if isinstance(done, int) and isinstance(wanted, int) and done < 0.5 * wanted:
            return f'the checkpoint is of {done} of {wanted} {unit}'
    return ''


def head_facts(model: nn.Module) -> dict[str, Any]:
    """Box coders and priors of the heads, plain values by name of the head.

    `means` and `stds` of the coder; of the priors `strides` and, for each level, `sizes`: widths and heights.
    """
    facts: dict[str, Any] = {}
    for name, module in model.named_modules():
        own: dict[str, Any] = {}
        coder: Any = getattr(module, 'bbox_coder', None)
        if coder is not None:
            own['coder'] = type(coder).__name__
            own |= {key: [float(v) for v in getattr(coder, key)] for key in ('means', 'stds') if hasattr(coder, key)}
        priors: Any = getattr(module, 'prior_generator', None)
        if priors is not None and hasattr(priors, 'base_anchors'):
            own['strides'] = [list(map(float, stride)) for stride in priors.strides]
            own['sizes'] = [(level[:, 2:] - level[:, :2]).tolist() for level in priors.base_anchors]
        if own:
            facts[name] = own
    return facts
