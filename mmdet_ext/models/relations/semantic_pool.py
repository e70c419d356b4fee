"""The classifier's weights as memory of the classes, and how much of each class a RoI holds."""

import torch
import torch.nn.functional as F
from torch import Tensor

MAPPINGS = ('soft', 'argmax')


def semantic_pool(cls_weight: Tensor, channels: int, bias: bool, detach: bool, owner: str) -> Tensor:
    """Global semantic pool of Reasoning-RCNN (CVPR 2019, section 3.1).

    Args:
        cls_weight: (C + 1, D' + 1) weight and bias of the base classifier, background last.
        channels: the D' that `owner` was built for.
        bias: whether the classifier's bias is one more column.
        detach: no gradient to the classifier.
        owner: whose pool it is, for the sentence of an error.

    Returns:
        (C + 1, D' + bias).

    Raises:
        ValueError: the classifier reads another number of features.
    """
    if cls_weight.shape[1] != channels + 1:
        raise ValueError(
            f'{owner} was built with pool_channels={channels} but the base classifier reads '
            f'{cls_weight.shape[1] - 1} features; set pool_channels={cls_weight.shape[1] - 1}'
        )
    pool = cls_weight if bias else cls_weight[:, :-1]
    return pool.detach() if detach else pool


def class_shares(cls_logits: Tensor, mapping: str) -> Tensor:
    """(N, C + 1) logits -> shares of the classes, which sum to 1, in float32 or wider.

    `'soft'`: their softmax; `'argmax'`: 1 for the class of highest score.
    """
    logits = cls_logits.to(torch.promote_types(cls_logits.dtype, torch.float32))
    if mapping == 'soft':
        return logits.softmax(-1)
    return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
