"""What `--cfg-options` accepts: a parser that keeps blanks, and a check of every key against the config.

mmengine merges any key into a config, so a misspelt one trains for hours with the default. The check knows a key when
the config has it, when the class named by `type` at that place takes it as a constructor argument, or when the Runner
reads it; anything else is reported together with the nearest name.
"""

import argparse
import ast
import contextlib
import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import mmengine.registry as mmengine_registry
from mmengine.config import Config, DictAction
from mmengine.registry import Registry
from mmengine.runner import LogProcessor, Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Read from the config itself, by the Runner or by mmdet's and our tools, although they are no Runner argument.
_TOP_LEVEL = _names(
    'model_wrapper_cfg sync_bn find_unused_parameters activation_checkpointing efficient_conv_bn_eval compile '
    'runner_type tta_model tta_pipeline custom_imports gpu_ids'
)
_ALWAYS = frozenset({'type', '_scope_', '_delete_'})
# Arguments taken out of a dict before its class is built, and dicts that never name a class.
_EXTRA: dict[str, frozenset[str]] = {
    'dataloader': _names('dataset sampler batch_sampler num_batch_per_epoch disable_subprocess_warning'),
    'hook': frozenset({'priority'}),
    'optim_wrapper': frozenset({'optimizer', 'paramwise_cfg', 'constructor'}),
    'clip_grad': _names('type max_norm norm_type error_if_nonfinite'),
    'nms': _names('class_agnostic split_thr max_num iou_threshold score_threshold min_score sigma method'),
    'paramwise_cfg': _names(
        'custom_keys bias_lr_mult bias_decay_mult norm_decay_mult flat_decay_mult dwconv_decay_mult '
        'dcn_offset_lr_mult bypass_duplicate'
    ),
    'norm_cfg': frozenset({'requires_grad'}),
    'init_cfg': frozenset({'override'}),
    'param_scheduler': frozenset({'convert_to_iter_based'}),
    'auto_scale_lr': frozenset({'enable', 'base_batch_size'}),
    'env_cfg': frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    'dist_cfg': frozenset({'backend', 'timeout', 'init_backend', 'init_method'}),
    'default_hooks': _names('runtime_info timer sampler_seed logger param_scheduler checkpoint'),
}


class CfgOptionsAction(DictAction):
    """`KEY=VALUE` pairs as mmengine reads them, except that blanks inside a value are kept, never dropped.

    A list or tuple is read as a Python literal first, so `classes="('multiple nodules','mass')"` keeps its names.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        text = val.strip()
        if text[:1] in ('[', '('):
            try:
                return ast.literal_eval(text)
            except (ValueError, SyntaxError):
                if re.search(r'\w\s+\w', text):
                    raise argparse.ArgumentTypeError(
                        f'--cfg-options: {val} holds a name with a blank; put each name of the list in quotes'
                    ) from None
        elif re.search(r'\S\s+\S', text) and ',' not in text:
            return text.strip('\'"')
        return DictAction._parse_iterable(val)


def accepted_arguments(target: Any) -> tuple[set[str], bool]:
    """Names of the arguments that a class or function takes.

    `**kwargs` of a constructor are followed along the MRO to the constructors of its bases.

    Args:
        target: Class or function.

    Returns:
        The names, and whether any further name is accepted too (a `**kwargs` that leads nowhere).
    """
    owners = [c for c in inspect.getmro(target) if '__init__' in vars(c)] if inspect.isclass(target) else [target]
    names: set[str] = set()
    for owner in owners:
        if owner is object:
            break
        try:
            parameters = inspect.signature(owner.__init__ if inspect.isclass(owner) else owner).parameters.values()
        except (TypeError, ValueError):
            return names, True
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {'self'}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True


def _registered(type_: Any, scope: str) -> list[Any]:
    """Everything registered under a name, in whichever registry; a class or function stands for itself."""
    if not isinstance(type_, str):
        return [type_] if callable(type_) else []
    with contextlib.suppress(ImportError):
        import_module(f'{scope}.registry')
    found = []
    for root in (obj for obj in vars(mmengine_registry).values() if isinstance(obj, Registry)):
        # Not every root has a child of this scope; `switch_scope_and_registry` would warn of each that has none.
        target = root.children.get(scope, root).get(type_)
        if target is not None and target not in found:
            found.append(target)
    return found


def _default_target(path: list[str], node: Mapping[str, Any]) -> Any:
    """What reads a dict without `type`, if that is fixed: a class, a function or a registered name."""
    loop = 'EpochBasedTrainLoop' if node.get('by_epoch') else 'IterBasedTrainLoop'
    return {
        'train_dataloader': DataLoader,
        'val_dataloader': DataLoader,
        'test_dataloader': DataLoader,
        'train_cfg': loop,
        'val_cfg': 'ValLoop',
        'test_cfg': 'TestLoop',
        'optim_wrapper': 'OptimWrapper',
        'model_wrapper_cfg': 'MMDistributedDataParallel',
        'log_processor': LogProcessor,
        'randomness': Runner.set_randomness,
        'env_cfg.mp_cfg': set_multi_processing,
    }.get('.'.join(path))


def _extras(path: list[str]) -> frozenset[str]:
    """Names accepted at a place beside the constructor's arguments."""
    if not path:
        return _TOP_LEVEL
    if path[0] in ('default_hooks', 'custom_hooks') and len(path) == 2:
        return _EXTRA['hook']
    if path[0] == 'param_scheduler':
        return _EXTRA['param_scheduler']
    last = path[-1]
    return _EXTRA.get('dataloader' if last.endswith('_dataloader') else last, frozenset())


def _known_names(path: list[str], node: Mapping[str, Any], type_: Any, scope: str) -> tuple[set[str], bool]:
    """Names that may be set in a dict, whether or not the config has them, and whether there may be others."""
    names, is_open = set(node) | _ALWAYS | _extras(path), False
    wanted = [Runner] if not path else [type_ or _default_target(path, node)]
    if not path and type_ is not None:
        wanted.append(type_)
    for target in [t for w in wanted for t in _registered(w, scope)]:
        arguments, more = accepted_arguments(target)
        names |= arguments
        is_open |= more
    return names, is_open


def _places(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Dotted paths below a node, with what they hold."""
    if isinstance(node, (Mapping, list, tuple)):
        for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield f'{path}.{key}', child
            yield from _places(child, f'{path}.{key}')


def _unread_name(cfg: Config, name: str, read: set[str]) -> str:
    value = cfg[name]
    places = [pair for key in cfg if key in read for pair in [(key, cfg[key]), *_places(cfg[key], key)]]
    equal = [path for path, held in places if type(held) is type(value) and held == value]
    named = [path for path, _ in places if path.split('.')[-1] == name]
    instead = 'override the place that uses it'
    # An equal value may be chance (a `max_epochs` of 8 and a batch size of 8): the name tells more.
    if named:
        instead = f'override {", ".join([path for path in named if path in equal] or named)}'
    elif equal:
        instead += f', perhaps {" or ".join(equal[:3])} (same value),'
    return (
        f"--cfg-options {name}: '{name}' is a helper variable of the config that the Runner does not read, and it was "
        f'already copied where it is used, so overriding it changes nothing; {instead} instead, or lay another data '
        'config over this one with --dataset FILE.'
    )


def _check_key(cfg: Config, full_key: str, options: Mapping[str, Any], scope: str) -> str | None:
    """One warning, or None when the key is known; see `check_cfg_options`."""
    node: Any = cfg._cfg_dict
    parts = full_key.split('.')
    for depth, part in enumerate(parts):
        path, place = parts[:depth], '.'.join(parts[:depth])
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise ValueError(
                    f"--cfg-options {full_key}: '{place}' is a list of {len(node)} entries, '{part}' is none of its "
                    f'indices 0 to {len(node) - 1}.'
                )
            node = node[int(part)]
            continue
        if not isinstance(node, Mapping):
            raise ValueError(
                f"--cfg-options {full_key}: '{place}' is {node!r}, which has no entries to set; set '{place}' itself."
            )
        type_ = options.get(f'{place}.type', node.get('type')) if path else node.get('runner_type')
        names, is_open = _known_names(path, node, type_, scope)
        if not path and part in node and part not in (read := names - set(node) | _TOP_LEVEL | _runner_names(type_)):
            raise ValueError(_unread_name(cfg, part, read))
        if part in node:
            node = node[part]
            continue
        if part in names:
            return None
        near = difflib.get_close_matches(part, sorted(names - _ALWAYS), n=1, cutoff=0.85 if is_open else 0.6)
        if is_open and not near:
            return None
        hint = f"; the nearest name is '{'.'.join([*path, near[0]])}'" if near else ''
        where = f"'{place}'" + (f' ({type_})' if type_ else '') if path else 'the config'
        return f"--cfg-options {full_key}: nothing knows '{part}' in {where}{hint}."
    return None


def _runner_names(runner_type: Any) -> set[str]:
    targets = [Runner, *_registered(runner_type, 'mmengine')]
    return set().union(*(accepted_arguments(t)[0] for t in targets))


def check_cfg_options(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Check the keys of `--cfg-options` against the config they will be merged into.

    Args:
        cfg: The config before the options are merged.
        options: Dotted key to value, e.g. `{'model.backbone.depth': 18}`.

    Returns:
        One sentence for each key that nothing knows, with the nearest name.

    Raises:
        ValueError: A list index out of range, a key below something that has no entries, or a top-level name that
            the Runner does not read (overriding it would change nothing).
    """
    scope = cfg.get('default_scope', 'mmengine')
    warnings = [_check_key(cfg, key, options, scope) for key in options]
    return [w for w in warnings if w is not None]
