"""Which host packages are installed, and whether these versions were tested. Standard library only.

`tools/check_env.py` loads this file where the hosts, or this package, cannot be imported.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple


class Host(NamedTuple):
    """A distribution that provides one of the modules `mmengine`, `mmcv`, `mmdet`."""

    stack: str
    module: str
    name: str
    low: str
    below: str

    @property
    def tested(self) -> str:
        """Tested range, `name>=low,<below`."""
        return f'{self.name}>={self.low},<{self.below}'


HOSTS = (
    Host('default', 'mmengine', 'mmengine', '0.10.7', '0.11'),
    Host('default', 'mmcv', 'mmcv', '2.1.0', '2.2'),
    Host('default', 'mmdet', 'mmdet', '3.3.0', '3.4'),
    Host('onedl', 'mmengine', 'onedl-mmengine', '0.10.12', '0.11'),
    Host('onedl', 'mmcv', 'onedl-mmcv', '2.3.6', '2.4'),
    Host('onedl', 'mmdet', 'onedl-mmdetection', '3.5.1', '3.6'),
)
MODULES = ('mmengine', 'mmcv', 'mmdet')


def release(text: str) -> tuple[int, ...]:
    """Leading numbers of a version: `'2.13.0+cpu'` gives `(2, 13, 0)`, a pre-release counts as its release."""
    match = re.match(r'\d+(\.\d+)*', text)
    return tuple(int(part) for part in match[0].split('.')) if match else ()


def installed(name: str) -> str | None:
    """Version of an installed distribution, None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def find_hosts(module: str) -> list[tuple[Host, str]]:
    """Installed distributions that provide `module`, with their versions: one of them when all is well."""
    found = ((host, installed(host.name)) for host in HOSTS if host.module == module)
    return [(host, number) for host, number in found if number is not None]


def is_tested(host: Host, number: str) -> bool:
    """Whether version `number` of `host` lies in the tested range."""
    return release(host.low) <= release(number) < release(host.below)


def untested_hosts() -> list[str]:
    """One phrase per module whose installed version was not tested: what was found, and the tested ranges."""
    phrases = []
    for module in MODULES:
        found = find_hosts(module)
        if len(found) == 1 and is_tested(*found[0]):
            continue
        there = ' and '.join(f'{host.name} {number}' for host, number in found) or f'no distribution of {module}'
        tested = ' or '.join(host.tested for host in HOSTS if host.module == module)
        phrases.append(f'{there} (tested: {tested})')
    return phrases
