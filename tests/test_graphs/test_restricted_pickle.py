import collections
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmdet_ext.graphs import restricted_pickle
from mmdet_ext.graphs.restricted_pickle import array_of, load_arrays, load_restricted

# What Python 2 with numpy 1 writes for np.array([[1., 2.], [3., 4.]]), in its protocols 0 and 2.
FLOATS = np.array([[1.0, 2.0], [3.0, 4.0]]).tobytes().decode('latin1')
PYTHON2_TEXT = (
    b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
    b'(I1\n(I2\nI2\ntp6\ncnumpy\ndtype\np7\n(S\'f8\'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS\'<\'\np11\nNNNI-1\nI-1\nI0\ntp12\nb'
    b'I00\nS' + ascii(FLOATS).encode('ascii') + b'\np13\ntp14\nb.'
)  # fmt: skip
PYTHON2_BINARY = (
    b'\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02U\x01bq\x03\x87q\x04Rq\x05'
    b'(K\x01K\x02K\x02\x86q\x06cnumpy\ndtype\nq\x07U\x02f8q\x08K\x00K\x01\x87q\tRq\n(K\x03U\x01<q\x0bNNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK\x00tq\x0cb\x89U ' + FLOATS.encode('latin1') + b'q\rtq\x0eb.'
)


@pytest.fixture
def write(tmp_path):
    def write(content, protocol=None):
        path = tmp_path / 'graph.pkl'
        raw = isinstance(content, bytes)
        path.write_bytes(content if raw else pickle.dumps(content, protocol))
        return path

    return write


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('dtype', ['<f8', '>f8', '<f4', '<i8', '|u1', '|b1', '<f2'])
def test_arrays_of_every_protocol(write, protocol, dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    for original in (array, np.asfortranarray(array), array[0]):
        loaded = load_arrays(write(original, protocol))
        np.testing.assert_array_equal(loaded, original)
        assert loaded.dtype == original.dtype


@settings(max_examples=20, deadline=None)
@given(
    array=hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=3)),
    protocol=st.integers(0, 5),
    key=st.text(max_size=3).filter(lambda key: key != 'n'),
)
def test_round_trip_in_a_dict(tmp_path_factory, array, protocol, key):
    path = tmp_path_factory.getbasetemp() / 'dict.pkl'
    path.write_bytes(pickle.dumps(collections.OrderedDict({key: array, 'n': [1, 2.5, None]}), protocol))
    loaded = load_arrays(path)
    np.testing.assert_array_equal(loaded.pop(key), array)
    assert loaded == {'n': [1, 2.5, None]}


@pytest.mark.parametrize('content', [PYTHON2_TEXT, PYTHON2_BINARY], ids=['text', 'binary'])
def test_python_2(write, content):
    assert load_arrays(write(content)).tolist() == [[1, 2], [3, 4]]


class Calls:
    def __init__(self, function, *arguments):
        self.made = function, arguments

    def __reduce__(self):
        return self.made


HARMFUL = {
    'os.system': Calls(os.system, 'touch {}'),
    'builtins.eval': Calls(eval, 'open({!r}, "w")'),
    'builtins.exec': [{'a': Calls(exec, 'open({!r}, "w")')}],
    'builtins.getattr': Calls(getattr, os, 'system'),
}


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize('name', ['os.system', 'builtins.eval', 'builtins.exec'])
def test_nothing_is_run(write, tmp_path, name, protocol):
    target = tmp_path / 'harm'
    item = HARMFUL[name]
    inner = item[0]['a'] if isinstance(item, list) else item
    function, (text,) = inner.made
    inner = Calls(function, text.format(str(target)))
    path = write([{'a': inner}] if isinstance(item, list) else inner, protocol)
    # Python 2 called builtins __builtin__, and os.system is a function of the module posix.
    module = {'os.system': '(posix|nt)'}.get(name, '(builtins|__builtin__)')
    with pytest.raises(ValueError, match=rf'wants to call {module}\.{name.split(".")[1]}; only arrays') as caught:
        load_arrays(path)
    assert str(path) in str(caught.value)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()  # the pickle does do harm elsewhere


def test_numpy_itself_is_not_asked(write, tmp_path):
    target = tmp_path / 'harm'
    for harmful in (Calls(os.system, f'touch {target}'), print):
        array = np.empty((1, 1), dtype=object)
        array[0, 0] = harmful
        with pytest.raises(ValueError, match='was not loaded'):
            load_arrays(write(array))
    assert not target.exists()
    plain = np.array([[1, 'x']], dtype=object)
    for array in (plain, np.zeros(2, dtype='c16'), np.zeros(2, dtype=[('a', 'f8')]), np.array(['text'])):
        with pytest.raises(ValueError, match=r'holds an array of type .*; only plain numbers are read'):
            load_arrays(write(array))


def test_other_globals(write):
    for item in (np.float64(1), collections.defaultdict(list), np.ma.array([1.0]), {1, 2}, os.path.join):
        path = write(item, 2)
        with pytest.raises(ValueError, match=r'wants to call [\w.]+; only arrays and plain containers'):
            load_arrays(path)


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        (b'', 'Ran out of input'),
        (b'not a pickle', 'was not loaded'),
        (PYTHON2_BINARY[:-20], 'was not loaded'),
        (PYTHON2_BINARY.replace(b'U\x01<', b'U\x01x'), "unknown byte order 'x'"),
        (PYTHON2_BINARY.replace(b'K\x02K\x02\x86', b'K\x02K\x09\x86'), 'cannot reshape'),
        (b'\x80\x02c_codecs\nencode\nU\x01aU\x05utf-8\x86R.', "text encoded as 'utf-8'"),
        (b"cbuiltins\n__import__\n(S'os'\ntR.", r'wants to call builtins\.__import__'),
        (b"Pid\n.", 'persistent'),
    ],
)  # fmt: skip
def test_damaged(write, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_arrays(write(content))


def test_names_that_are_allowed_cannot_be_rebuilt():
    for stand_in in set(restricted_pickle._ALLOWED.values()):
        assert isinstance(stand_in, type)


def test_more_may_be_allowed(write):
    path = write({'a': [np.arange(3)], 'path': collections.deque([1])})
    with pytest.raises(ValueError, match=r'it wants to call collections\.deque; only arrays and plain containers'):
        load_arrays(path)
    loaded = load_restricted(path, {('collections', 'deque'): list}, 'arrays and queues')
    assert loaded['path'] == [1]
    assert array_of(loaded['a'][0]).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r'it wants to call collections\.deque; only queues are read'):
        load_restricted(path, what='queues')
