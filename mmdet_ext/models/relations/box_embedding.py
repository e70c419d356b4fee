"""What relations share whose feature is the embedded geometry itself."""

import torch
from torch import Tensor

from .base import BaseRelation, check_positive
from .geometry import GEOMETRIES, box_geometry, sine_embedding


class _BoxEmbeddingRelation(BaseRelation):
    """Checks the options of the embedding and computes it; RoI features are not read."""

    reads_feats = False
    gradient_to_feats = False

    def __init__(
        self,
        in_channels: int | None,
        slots: int,
        em_dim: int,
        wave_len: float,
        geom: str,
        out_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        owner = type(self).__name__
        check_positive('em_dim', em_dim, owner)
        if em_dim % 8:
            raise ValueError(f'{owner}: em_dim={em_dim} is not a multiple of 8')
        check_positive('wave_len', wave_len, owner, integer=False)
        if geom not in GEOMETRIES:
            raise ValueError(f'{owner}: geom={geom!r}, allowed are {GEOMETRIES}')
        super().__init__(in_channels, slots * em_dim if out_channels is None else out_channels, init_cfg)
        self.em_dim, self.wave_len, self.geom = em_dim, wave_len, geom

    def embed(self, rois: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Geometry of the keys of its image as seen from every RoI, in the wider of float32 and the boxes' type.

        Args:
            rois: (N, 5).
            keys: (B, M, 4) xyxy.
            mask: (B, M) bool, False where there is no key.

        Returns:
            (N, M * em_dim), zeros for keys that do not exist, even if their box is NaN.
        """
        image = rois[:, 0].long()
        geometry = box_geometry(rois[:, None, 1:].detach(), keys[image].detach(), self.geom).squeeze(1)
        embedding = sine_embedding(geometry, self.em_dim, self.wave_len)
        return torch.where(mask[image][..., None], embedding, 0).flatten(1)
