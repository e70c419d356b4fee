import pytest

from mmdet_ext.graphs.names import describe_difference, group_pairs, require_known, require_unique


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(KeyError, match=r"`restrict` names .*'nodul' \(nearest: 'nodule'\), 'efusion' .*'effusion'"):
        require_known(['mass', 'nodul', 'efusion'], ['mass', 'nodule', 'effusion'], '`restrict`')
    with pytest.raises(KeyError, match='there are no classes'):
        require_known(['mass'], [], '`classes`')
    require_known(['mass'], ['mass'], '`classes`')


def test_names_that_occur_twice():
    with pytest.raises(ValueError, match=r'file\.json has class names that occur more than once: b, c'):
        require_unique(['c', 'b', 'a', 'b', 'c'], 'file.json')
    require_unique(['a', 'b'], 'file.json')


def test_pairs_of_the_same_name_are_joined():
    assert group_pairs([('a', ['b']), ('c', ['d']), ('a', ['e', 'f'])]) == {'a': ['b', 'e', 'f'], 'c': ['d']}


def test_order_only():
    sentence = describe_difference(['a', 'b', 'c'], ['a', 'c', 'b'])
    assert sentence == (
        "only the order differs, first at index 1: the graph has 'b', the data set 'c'; use `remap(classes)`"
    )


@pytest.mark.parametrize(
    ('ours', 'theirs', 'first'),
    [
        ('ab', 'ax', "index 1: the graph has 'b', the data set 'x'"),
        ('ab', 'abc', "index 2: the graph has nothing, the data set 'c'"),
        ('abc', 'ab', "index 2: the graph has 'c', the data set nothing"),
        ('ab', 'aab', "index 1: the graph has 'b', the data set 'a'"),
    ],
)
def test_other_names(ours, theirs, first):
    sentence = describe_difference(list(ours), list(theirs))
    assert f'the graph has {len(ours)} classes, the data set {len(theirs)}' in sentence
    assert first in sentence
    assert 'only the order' not in sentence
