"""Reads arrays from pickles without running what stands in them.

Unpickling calls whatever the file names. Here it may name numpy's arrays only, and even they are put together by code
of ours from shape, number type and bytes: numpy's own unpickling trusts its input.
"""

import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np


class _NumberType:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code: str, *_: Any) -> None:
        if not (isinstance(code, str) and re.fullmatch(r'[fiub]\d+', code)):
            raise pickle.UnpicklingError(f'it holds an array of type {code!r}; only plain numbers are read')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ('<', '>', '|', '='):
            raise pickle.UnpicklingError(f'it holds numbers of the unknown byte order {order!r}')
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands in for `numpy.ndarray`; `values` is the real one."""

    def __init__(self, *_: Any) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, number_type, fortran, raw = state
        raw = raw.encode('latin1') if isinstance(raw, str) else raw
        self.values = np.frombuffer(raw, number_type.dtype).reshape(shape, order='F' if fortran else 'C')


class _BufferArray(_Array):
    """Stands in for what pickle protocol 5 makes arrays with."""

    def __init__(self, raw: bytes, number_type: _NumberType, shape: tuple, order: str) -> None:
        self.values = np.frombuffer(raw, number_type.dtype).reshape(shape, order='F' if order == 'F' else 'C')


class _Bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes that Python 2 can read."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != 'latin1':
            raise pickle.UnpicklingError(f'it wants text encoded as {encoding!r}')
        return text.encode('latin1')


_ALLOWED = {
    ('numpy', 'dtype'): _NumberType,
    ('numpy', 'ndarray'): _Array,
    ('numpy.core.multiarray', '_reconstruct'): _Array,
    ('numpy.core.numeric', '_frombuffer'): _BufferArray,
    ('_codecs', 'encode'): _Bytes,
    ('collections', 'OrderedDict'): dict,
}


_REMEMBER = ('PUT', 'BINPUT', 'LONG_BINPUT')


class _Rules:
    def __init__(self, stream: BinaryIO, allowed: Mapping[tuple[str, str], Any], what: str) -> None:
        super().__init__(stream, encoding='latin1')  # type: ignore[call-arg]
        self._allowed, self._what = {**_ALLOWED, **allowed}, what

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 writes numpy._core.
        allowed = self._allowed.get((module.replace('._core', '.core'), name))
        if allowed is None:
            raise pickle.UnpicklingError(f'it wants to call {module}.{name}; only {self._what} are read')
        return allowed


class _Unpickler(_Rules, pickle.Unpickler):
    pass


class _SlowUnpickler(_Rules, pickle._Unpickler):
    """In Python, with a dict for a table; without the command that makes an array of zeros of any length."""

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}


def _is_modest(stream: BinaryIO) -> bool:
    """Whether the fast unpickler may read it. A command of six bytes can ask it for a table of gigabytes, to be filled.

    Raises:
        pickle.UnpicklingError: It asks for one.
    """
    try:
        # Nothing is remembered at a place beyond the number of commands before it.
        for number, (command, place, _) in enumerate(pickletools.genops(stream)):
            if command.name in _REMEMBER and isinstance(place, int) and not 0 <= place <= number:
                raise pickle.UnpicklingError(f'it wants a table of {place} objects')
    except (ValueError, IndexError):
        # No pickle, or a text of Python 2 as no later one writes it: what comes behind it was not looked at.
        return False
    finally:
        stream.seek(0)
    return True


def load_restricted(
    path: str | Path,
    allowed: Mapping[tuple[str, str], Any] = MappingProxyType({}),
    what: str = 'arrays and plain containers',
) -> Any:
    """Load a pickle (also one of Python 2) that may name numpy's arrays and what else is allowed here.

    Args:
        path: Pickle file.
        allowed: Module and name, as the pickle has them, to what is called instead.
        what: What may be in the file, for the message.

    Returns:
        What was pickled; arrays as objects with the array in `values`.

    Raises:
        ValueError: The pickle names something else, or it is damaged; nothing of it was run.
    """
    with Path(path).open('rb') as stream:
        try:
            unpickler = _Unpickler if _is_modest(stream) else _SlowUnpickler
            return unpickler(stream, allowed, what).load()
        except Exception as error:  # a damaged pickle can raise anything
            reason = 'Ran out of input' if isinstance(error, EOFError) else error
            raise ValueError(f'the pickle {path} was not loaded: {reason}') from error


def load_arrays(path: str | Path) -> Any:
    """Load a pickle (also one of Python 2) that holds an array of numbers, or plain containers and a dict of arrays.

    Args:
        path: Pickle file.

    Returns:
        An array, a dict whose values may be arrays, or another plain object as it was pickled.

    Raises:
        ValueError: The pickle names something that a matrix does not need, or it is damaged; nothing of it was run.
    """
    loaded = load_restricted(path)
    if isinstance(loaded, dict):
        return {key: array_of(value) for key, value in loaded.items()}
    return array_of(loaded)


def array_of(item: Any) -> Any:
    """The array of what `load_restricted` gives for one; anything else as it is."""
    return item.values if isinstance(item, _Array) else item
