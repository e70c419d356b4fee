"""Pairs of queries and keys of an image in chunks of queries, for :mod:`.fused_attention`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .geometry import log_shift, wave_numbers

# Smallest geometry weight, as published; its logarithm is the lowest bias a pair can get.
MIN_WEIGHT = 1e-6
# Numbers in a chunk's (H, n, M) buffer, and in the embedding inside: a core's caches hold them, a GPU wants more.
CHUNK = {'cpu': 1 << 21, 'cuda': 1 << 24}
EMBEDDING = {'cpu': 1 << 19, 'cuda': 1 << 24}


class ImagePairs:
    """The pairs of one image: appearance and geometry of a chunk of queries, in buffers that are used again.

    What a method returns is valid until it is called again. Nothing here is differentiated.

    Args:
        index: which image of the batch.
        query: (B, H, N, d), scaled.
        key: (B, H, M, d).
        value: (B, H, M, e).
        shift_weight: (H, dim / 2) weights of `t r` and `r` of the two distances.
        factors: (B, N, H, K) and
        waves: (B, M, K): their product over K is the rest of the geometry.
        query_boxes: (B, N, 4) centre and size.
        key_centres: (B, M, 2).
        blocked: (B, M) zero or -inf, added to the scores, or None.
        counts: queries of each image.
        key_counts: keys of each image.
        kind: see :func:`.geometry.box_geometry`.
        wave_len: see :func:`.geometry.sine_embedding`.
    """

    def __init__(
        self,
        index: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        shift_weight: Tensor,
        factors: Tensor,
        waves: Tensor,
        query_boxes: Tensor,
        key_centres: Tensor,
        blocked: Tensor | None,
        counts: Sequence[int],
        key_counts: Sequence[int],
        kind: str,
        wave_len: float,
    ) -> None:
        self.count, keys = counts[index], key_counts[index]
        # Heads are usually interleaved in memory; the products are faster with the rows of a head side by side.
        self.query = query[index].contiguous()
        self.key, self.value = key[index, :, :keys].contiguous(), value[index, :, :keys].contiguous()
        self.weight, self.factors, self.waves = shift_weight, factors[index].transpose(0, 1), waves[index, :keys]
        # Contiguous, so that one coordinate of all keys is, which the vectors of the processor want.
        self.centres, self.sizes = query_boxes[index].T.contiguous()[:, :, None].split(2)
        self.key_centres = key_centres[index, :keys].T.contiguous()[:, None]
        self.blocked = None if blocked is None else blocked[index, :keys]
        self.kind = kind
        heads, half = shift_weight.shape
        # Half of the angle, see `embed`.
        self.numbers = wave_numbers(half // 4, wave_len, query.dtype, query.device)[:, None, None] / 2
        device = 'cpu' if query.is_cpu else 'cuda'
        self.step = max(1, min(self.count, CHUNK[device] // max(1, heads * keys)))
        self.part = max(1, min(self.step, EMBEDDING[device] // max(1, half * keys)))
        self.score = query.new_empty(heads * self.step * keys)
        self.embedding = query.new_empty(half * self.part * keys)

    def chunks(self) -> Iterator[slice]:
        """Queries to be treated together."""
        for start in range(0, self.count, self.step):
            yield slice(start, min(start + self.step, self.count))

    def parts(self, rows: slice) -> Iterator[tuple[slice, slice]]:
        """Queries of the chunk whose embedding is alive together: their place in the chunk and in the image."""
        for start in range(rows.start, rows.stop, self.part):
            stop = min(start + self.part, rows.stop)
            yield slice(start - rows.start, stop - rows.start), slice(start, stop)

    def scores(self, rows: slice) -> Tensor:
        """(H, n, M) products of queries and keys."""
        query = self.query[:, rows]
        shape = torch.Size((*query.shape[:2], self.key.shape[1]))
        score = self.score[: shape.numel()].view(shape)
        torch.bmm(query, self.key.transpose(1, 2), out=score)
        return score if self.blocked is None else score.add_(self.blocked)

    def embed(self, rows: slice) -> Tensor:
        """(dim / 2, n * M) of the distances `x`: `t r` and `r` with `t = tan(x / 2)`, `r = 1 / (1 + t^2)`.

        They stand for `sin x = 2 t r` and `cos x = 2 r - 1` at the price of one trigonometric function.
        """
        shift = log_shift(self.centres[:, rows], self.sizes[:, rows], self.key_centres, self.kind)
        shape = torch.Size((2, 2, len(self.numbers), *shift.shape[1:]))
        embedding = self.embedding[: shape.numel()].view(shape)
        sine, cosine = embedding.unbind(1)
        torch.mul(shift[:, None], self.numbers, out=sine).tan_()
        torch.mul(sine, sine, out=cosine).add_(1).reciprocal_()
        sine.mul_(cosine)
        return embedding.view(self.weight.shape[1], -1)

    def geometry(self, rows: slice, embedding: Tensor) -> Tensor:
        """(H, n, M) linear layer over the whole embedding."""
        heads, keys = len(self.weight), self.waves.shape[0]
        out = torch.mm(self.weight, embedding).view(-1, keys)
        out.addmm_(self.factors[:, rows].flatten(0, 1), self.waves.T)
        return out.view(heads, -1, keys)
