"""Labels from one convention to another and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.datasets.converters.label_convention import (
    background_first_to_last,
    background_last_to_first,
    category_ids_to_labels,
    check_labels,
    labels_to_category_ids,
)

KINDS = pytest.mark.parametrize('kind', [torch.tensor, np.array], ids=['torch', 'numpy'])
GAPS = (7, 1, 90, 13)


@KINDS
def test_closed_form(kind):
    first, last = kind([[0, 1], [3, 2]]), kind([[3, 0], [2, 1]])
    assert background_first_to_last(first, 3).tolist() == last.tolist()
    assert background_last_to_first(last, 3).tolist() == first.tolist()
    assert category_ids_to_labels(kind([90, 7, 13, 7]), GAPS).tolist() == [2, 0, 3, 0]
    assert labels_to_category_ids(kind([2, 0, 3, 0]), GAPS).tolist() == [90, 7, 13, 7]
    assert type(background_first_to_last(first, 3)) is type(first)
    assert type(category_ids_to_labels(kind([7]), GAPS)) is type(first)


@KINDS
def test_small_types_and_no_labels(kind):
    narrow = kind([0, 1]).astype(np.uint8) if kind is np.array else kind([0, 1], dtype=torch.uint8)
    assert background_first_to_last(narrow, 300).tolist() == [300, 0]
    for convert in (background_first_to_last, background_last_to_first):
        assert convert(kind([]), 3).shape == (0,)
    for convert in (category_ids_to_labels, labels_to_category_ids):
        assert str(convert(kind([]), GAPS).dtype).endswith('int64')


@given(st.integers(1, 9).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c)))))
def test_background_there_and_back(case):
    classes, labels = case
    values = np.array(labels, dtype=np.int64)
    last = background_first_to_last(values, classes)
    assert background_last_to_first(last, classes).tolist() == labels
    assert ((last == classes) == (values == 0)).all()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9, unique=True), st.data())
def test_categories_there_and_back(cat_ids, data):
    ids = data.draw(st.lists(st.sampled_from(cat_ids)))
    labels = category_ids_to_labels(torch.tensor(ids, dtype=torch.long), cat_ids)
    assert labels.tolist() == [cat_ids.index(i) for i in ids]
    assert labels_to_category_ids(labels, cat_ids).tolist() == ids


def test_a_stranger_is_named_by_value_and_position():
    with pytest.raises(ValueError, match=r'label 4 at position 1 is outside of 0 to 3 \(2 such labels\)'):
        background_first_to_last(torch.tensor([3, 4, -1]), 3)
    with pytest.raises(ValueError, match=r'label -1 at position \(1, 0\) is outside of 0 to 3'):
        background_last_to_first(np.array([[0, 3], [-1, 2]]), 3)
    with pytest.raises(ValueError, match=r'label 8 at position 2 is none of the category ids \[7, 1, 90, 13\]'):
        category_ids_to_labels(torch.tensor([7, 90, 8]), GAPS)
    with pytest.raises(ValueError, match=r'label 91 at position 0 is none of .*\[0, 1, 2, 3, 4\] and 2 more'):
        category_ids_to_labels(torch.tensor([91]), range(7))
    with pytest.raises(ValueError, match=r'label 4 at position 0 is outside of 0 to 3'):
        labels_to_category_ids(torch.tensor([4]), GAPS)


@pytest.mark.parametrize('labels', [torch.tensor([1.0]), np.array([True]), torch.tensor([1j])])
def test_labels_are_integers(labels):
    with pytest.raises(ValueError, match='not integers'):
        check_labels(labels, 3)


def test_settings_are_checked():
    for wrong in ((), (1, 2, 1)):
        with pytest.raises(ValueError, match='one per class, each once'):
            category_ids_to_labels(torch.tensor([1]), wrong)
    with pytest.raises(ValueError, match='num_classes must be 1 or more'):
        check_labels(torch.tensor([]), 0)
