"""Environment variables for the length of a block: configs read the folders of their data from them."""

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def set_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set these variables within the block, and put back what was there before, also after an error."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
