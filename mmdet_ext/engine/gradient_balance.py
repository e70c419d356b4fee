"""How hard each loss term pulls at what all heads share: gradients at the trunk, the feature maps of `extract_feat`."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .module_outputs import float_tensors


def scalar_terms(losses: Mapping[str, Any]) -> dict[str, Tensor]:
    """The terms that mmengine's `parse_losses` adds up, as scalars: names with 'loss', lists summed."""
    terms = {}
    for name, value in losses.items():
        if 'loss' in name:
            parts = value if isinstance(value, list | tuple) else [value]
            terms[name] = torch.stack([part.mean() for part in parts]).sum() if parts else torch.zeros(())
    return terms


def short_name(term: str) -> str:
    """A term's name without the word by which mmengine knows losses: 's0.loss_cls' is 's0.cls', 'loss' is 'all'."""
    parts = ([word.replace('loss', '') for word in part.split('_')] for part in term.split('.'))
    return '.'.join('_'.join(filter(None, words)) or 'all' for words in parts)


@contextlib.contextmanager
def watched_trunk(model: Any) -> Iterator[list[Tensor]]:
    """Collects the feature maps that a detector's `extract_feat` gives, while the context lasts.

    Maps that need no gradient (everything below is frozen) begin to need one, so that it can be measured.

    Args:
        model: Detector without its wrapper.
    """
    extract = model.extract_feat
    maps: list[Tensor] = []
    before = vars(model).get('extract_feat')

    def watched(*args: Any, **kwargs: Any) -> Any:
        feats = extract(*args, **kwargs)
        if torch.is_grad_enabled():
            maps.extend(level if level.requires_grad else level.requires_grad_() for level in float_tensors(feats))
        return feats

    vars(model)['extract_feat'] = watched
    try:
        yield maps
    finally:
        vars(model).pop('extract_feat')
        if before is not None:
            vars(model)['extract_feat'] = before


def trunk_gradient(term: Tensor, trunk: Sequence[Tensor], scale: float = 1.0) -> Tensor:
    """Gradient of a loss at all feature maps, in one row, float32; the graph stays for others.

    Args:
        term: A scalar; zeros come of one without a graph.
        trunk: The maps, at least one.
        scale: The loss is multiplied by it before, and the gradient divided afterwards: half precision loses what is
            small.
    """
    found: Sequence[Tensor | None] = [None] * len(trunk)
    if term.requires_grad:
        # Mixed precision is for the forward pass.
        with torch.autocast(term.device.type, enabled=False):
            found = torch.autograd.grad(term * scale, trunk, retain_graph=True, allow_unused=True)
    rows = [
        level.new_zeros(level.numel()) if own is None else own.flatten()
        for own, level in zip(found, trunk, strict=True)
    ]
    return torch.cat([row.float() for row in rows]) / scale


def balance(terms: Mapping[str, Tensor], trunk: Sequence[Tensor], scale: float = 1.0) -> dict[str, tuple[float, float]]:
    """Norm of each term's gradient at the trunk, and the cosine between it and the gradient of all terms together.

    Two gradients are held at a time. One host sync for each term.

    Args:
        terms: Scalars, see `scalar_terms`.
        trunk: See `watched_trunk`.
        scale: See `trunk_gradient`.

    Returns:
        By term: norm, and cosine (NaN where a gradient is zero); empty without feature maps or terms.
    """
    if not terms or not trunk:
        return {}
    total = trunk_gradient(torch.stack([term.float() for term in terms.values()]).sum(), trunk, scale)
    figures = {}
    for name, term in terms.items():
        own = trunk_gradient(term, trunk, scale)
        norm = own.norm()
        cosine = own.dot(total) / (norm * total.norm())
        figures[name] = tuple(torch.stack([norm, cosine]).tolist())
    return figures


def cosines(gradients: Mapping[str, Tensor]) -> dict[tuple[str, str], float]:
    """Cosine between the gradients of each pair of terms; pairs in which one is zero are left out."""
    names = [name for name, row in gradients.items() if bool(row.any())]
    unit = {name: gradients[name] / gradients[name].norm() for name in names}
    return {
        (one, two): float(unit[one].dot(unit[two])) for place, one in enumerate(names) for two in names[place + 1 :]
    }
