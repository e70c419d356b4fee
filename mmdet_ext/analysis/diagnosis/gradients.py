"""Loss balance of a trained detector: how hard each term still pulls at the feature maps, and against which others."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import SampleList
from torch import Tensor

from mmdet_ext.engine.gradient_balance import cosines, scalar_terms, trunk_gradient
from mmdet_ext.engine.module_outputs import float_tensors

from .image_losses import as_in_training, replaced


@dataclass(frozen=True)
class Gradients:
    """Gradients of the loss terms at the trunk, means over images.

    Attributes:
        norms: By term the norm of its gradient.
        cosines: By pair of terms the cosine between their gradients, of the images in which neither is zero.
        images: Number of images.
        limits: Sentences about images that could not be measured.
    """

    norms: dict[str, float]
    cosines: dict[tuple[str, str], float]
    images: int
    limits: tuple[str, ...] = ()


def measure_gradients(detector: Any, split: str, indices: Sequence[int]) -> Gradients:
    """Run the losses of single images backwards to the feature maps that all heads share; weights get no gradient.

    Statistics are frozen and samplers drawn as in `image_losses`. One gradient of the maps is held for each term.

    Args:
        detector: A `DiagnosedDetector`.
        split: One of its splits.
        indices: Places of the images; those that cannot be read are passed over.
    """
    model = detector.model
    norms: dict[str, list[float]] = defaultdict(list)
    pairs: dict[tuple[str, str], list[float]] = defaultdict(list)
    limits: dict[str, None] = {}
    images = 0
    for inputs, samples, _ in detector.batches(split, indices):
        try:
            gradients = _image_gradients(model, inputs, samples)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # heads and losses fail in any way on data they were not made for
            limits[f'no gradients: {type(error).__name__}: {" ".join(str(error).split()):.300}'] = None
            continue
        if not gradients:
            limits[f'no gradients: {type(model).__name__} gives no feature maps or no losses'] = None
            continue
        images += 1
        for name, row in gradients.items():
            norms[name].append(float(row.norm()))
        for pair, cosine in cosines(gradients).items():
            pairs[pair].append(cosine)
    return Gradients(
        norms={name: sum(values) / len(values) for name, values in norms.items()},
        cosines={pair: sum(values) / len(values) for pair, values in pairs.items()},
        images=images,
        limits=tuple(limits),
    )


def _image_gradients(model: Any, inputs: Tensor, samples: SampleList) -> dict[str, Tensor]:
    """Gradient of each term at the feature maps; nothing below them is kept for a backward pass."""
    with torch.no_grad():
        feats = model.extract_feat(inputs)
    trunk = [level.requires_grad_() for level in float_tensors(feats)]
    with torch.enable_grad(), replaced(model, extract_feat=lambda *args, **kwargs: feats), as_in_training(model):
        terms = scalar_terms(model.loss(inputs, samples))
        return {name: trunk_gradient(term, trunk) for name, term in terms.items()} if trunk else {}
