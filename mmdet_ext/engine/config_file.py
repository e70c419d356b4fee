"""Reads a config that is given by its path or by the name of a package."""

from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmengine.utils import is_installed


def read_config(config: str | Path) -> Config:
    """Read a config file, or a config of an installed package, such as `mmdet_ext::single_shot/NAME.py`.

    mmengine knows such names in `_base_` and in `get_config`, which would install a package that is missing.

    Args:
        config: Path, or `package::family/name.py`.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: The package is unknown to mmengine or not installed, or the name has no family.
    """
    name = str(config)
    package, separator, _ = name.partition('::')
    if not separator:
        if not Path(config).is_file():
            raise FileNotFoundError(f'There is no config {config} (looked from {Path.cwd()}).')
        return Config.fromfile(config)
    if package not in MODULE2PACKAGE or not is_installed(MODULE2PACKAGE[package]):
        there = sorted(module for module, known in MODULE2PACKAGE.items() if is_installed(known))
        raise ValueError(f'{name}: no package {package!r} with configs is installed here; there are {there}.')
    return get_config(name)
