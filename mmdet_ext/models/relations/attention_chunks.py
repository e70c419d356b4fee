"""Pairs of queries and keys of an image in chunks of queries, for :mod:`.fused_attention`."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .geometry import log_shift, wave_numbers

# Smallest geometry weight, as published; its logarithm is the lowest bias a pair can get.
MIN_WEIGHT = 1e-6
LOG2 = math.log(2)
# Numbers in a chunk's (H, n, M) buffer, and in the embedding inside: a core's caches hold them, a GPU wants more.
CHUNK = {'cpu': 1 << 21, 'cuda': 1 << 24}
EMBEDDING = {'cpu': 3 << 18, 'cuda': 1 << 24}


def _even(number: int, most: int) -> int:
    """Size of the fewest pieces of at most `most`, all about as large: a small last one is slow."""
    return max(1, -(-number // max(1, -(-number // max(1, most)))))


class ImagePairs:
    """The pairs of one image: appearance and geometry of a chunk of queries, in buffers that are used again.

    What a method returns is valid until it is called again.

    Args:
        image: which image of the batch.
        query: (N, H, d); rows of all images one after the other.
        key: (M, H, d), likewise, as is what follows.
        value: (M, H, e).
        shift_weight: (H, dim / 2) weights of `t r` and `r` of the two distances.
        factors: (H, N, K) and
        waves: (M, K): their product over K is the rest of the geometry.
        query_boxes: (N, 4) centre and size.
        key_centres: (M, 2).
        blocked: (M,) zero or -inf, added to the scores, or None.
        counts: queries of each image.
        key_counts: keys of each image.
        kind: see :func:`.geometry.box_geometry`.
        wave_len: see :func:`.geometry.sine_embedding`.

    Attributes:
        rows: the image's queries in the batch.
        keys: the image's keys in the batch.
        query, key, value: of the image, (H, n, d); the query is divided by the root of
            its width and by `LOG2`.
    """

    def __init__(
        self,
        image: int,
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
        self.count, keys = counts[image], key_counts[image]
        start, key_start = sum(counts[:image]), sum(key_counts[:image])
        self.rows, self.keys = slice(start, start + self.count), slice(key_start, key_start + keys)
        # (H, n, d): the products are faster with the rows of a head side by side.
        # In units of log 2: torch's exp2 takes a third of the time of its exp.
        self.query = query[self.rows].transpose(0, 1).clone(memory_format=torch.contiguous_format)
        self.query.mul_(query.shape[-1] ** -0.5 / LOG2)
        self.key, self.value = (x[self.keys].transpose(0, 1).contiguous() for x in (key, value))
        self.weight, self.factors, self.waves = shift_weight, factors[:, self.rows], waves[self.keys]
        # Contiguous, so that one coordinate of all keys is, which the vectors of the processor want.
        self.centres, self.sizes = query_boxes[self.rows].T.contiguous()[:, :, None].split(2)
        self.key_centres = key_centres[self.keys].T.contiguous()[:, None]
        self.blocked = None if blocked is None else blocked[self.keys]
        self.kind = kind
        heads, half = shift_weight.shape
        # Half of the angle, see `embed`.
        self.numbers = wave_numbers(half // 4, wave_len, query.dtype, query.device)[:, None, None] / 2
        self.one = query.new_ones(())
        device = 'cpu' if query.is_cpu else 'cuda'
        self.step = _even(self.count, CHUNK[device] // max(1, heads * keys))
        self.part = _even(self.step, EMBEDDING[device] // max(1, half * keys))
        # Fresh memory costs as much as the arithmetic, where the system has to map it.
        self._score, self._grad_score = (query.new_empty(heads * self.step * keys) for _ in range(2))
        self._geometry, self._grad_geometry = (query.new_empty(heads * self.part * keys) for _ in range(2))
        self._embedding = query.new_empty(half * self.part * keys)

    def chunks(self) -> Iterator[slice]:
        """Queries to be treated together; none where there is nothing to look at."""
        for start in range(0, self.count if len(self.waves) else 0, self.step):
            yield slice(start, min(start + self.step, self.count))

    def parts(self, rows: slice) -> Iterator[tuple[slice, slice]]:
        """Queries of the chunk whose embedding is alive together: their place in the chunk and in the image."""
        for start in range(rows.start, rows.stop, self.part):
            stop = min(start + self.part, rows.stop)
            yield slice(start - rows.start, stop - rows.start), slice(start, stop)

    def scores(self, rows: slice) -> Tensor:
        """(H, n, M) products of queries and keys over the root of their width, in units of log 2."""
        score = _product(self.query[:, rows], self.key, self._score)
        return score if self.blocked is None else score.add_(self.blocked)

    def grad_scores(self, upstream: Tensor) -> Tensor:
        """(H, n, M) products of the gradient (H, n, e) of the output and the values."""
        return _product(upstream, self.value, self._grad_score)

    def embed(self, rows: slice) -> Tensor:
        """(dim / 2, n * M) of the distances `x`: `t r` and `r` with `t = tan(x / 2)`, `r = 1 / (1 + t^2)`.

        They stand for `sin x = 2 t r` and `cos x = 2 r - 1` at the price of one trigonometric function.
        """
        shift = log_shift(self.centres[:, rows], self.sizes[:, rows], self.key_centres, self.kind)
        shape = torch.Size((2, 2, len(self.numbers), *shift.shape[1:]))
        embedding = self._embedding[: shape.numel()].view(shape)
        sine, cosine = embedding.unbind(1)
        torch.mul(shift[:, None], self.numbers, out=sine).tan_()
        torch.addcmul(self.one, sine, sine, out=cosine).reciprocal_()
        sine.mul_(cosine)
        return embedding.view(self.weight.shape[1], -1)

    def geometry(self, rows: slice, embedding: Tensor) -> Tensor:
        """(H, n, M) linear layer over the whole embedding, not below its floor."""
        heads, keys = len(self.weight), len(self.waves)
        out = self._geometry[: heads * embedding.shape[1]].view(heads, -1)
        torch.mm(self.weight, embedding, out=out)
        out = out.view(-1, keys)
        out.addmm_(self.factors[:, rows].flatten(0, 1), self.waves.T)
        return out.view(heads, -1, keys).clamp_(min=MIN_WEIGHT)

    def grad_geometry(self, share: Tensor, grad_score: Tensor) -> Tensor:
        """(H, n, M) product of both."""
        out = self._grad_geometry[: share.numel()].view(share.shape)
        return torch.mul(share, grad_score, out=out)


def _product(left: Tensor, right: Tensor, buffer: Tensor) -> Tensor:
    """(H, n, d) and (H, M, d) -> (H, n, M) products of rows, in the buffer."""
    shape = torch.Size((*left.shape[:2], right.shape[1]))
    return torch.bmm(left, right.transpose(1, 2), out=buffer[: shape.numel()].view(shape))
