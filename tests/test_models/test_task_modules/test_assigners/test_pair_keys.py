"""Keys sort as pairs do."""

import torch

from mmdet_ext.models.task_modules.assigners.pair_keys import pack, unpack_prior, unpack_prior_on_host


def test_by_rank_then_by_lower_prior():
    rank = torch.tensor([0.5, 0.5, 1.0, 0.0, 0.49999997, 1e-30])
    prior = torch.tensor([7, 3, 2**31, 0, 1, 9])
    keys = pack(rank, prior)
    assert keys.argsort(descending=True).tolist() == [2, 1, 0, 4, 5, 3]
    assert (keys >= 0).all()
    assert unpack_prior(keys).tolist() == unpack_prior_on_host(keys.numpy()).tolist() == prior.tolist()


def test_pairs_that_must_not_be_matched_are_negative():
    keys = pack(torch.tensor([-1.0, -1.0]), torch.tensor([0, 2**31]))
    assert (keys < 0).all()
    assert unpack_prior_on_host(keys.numpy()).tolist() == [-1, -1]


def test_no_key_has_a_prior_that_can_be_looked_up():
    assert unpack_prior(torch.tensor([-1])).tolist() == [0]
