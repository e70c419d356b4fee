"""Print versions and problems of the environment, each with the line that fixes it; exit code 1 with problems."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load_report() -> ModuleType:
    """Load `env_report` by file: `import mmdet_ext` needs the very packages that are examined."""
    # In a checkout the package lies beside tools/, in a wheel tools/ lies in the package's .mim/.
    here = Path(__file__).resolve()
    folders = (here.parents[1] / 'mmdet_ext', here.parents[2])
    path = next(path for path in (folder / 'utils' / 'env_report.py' for folder in folders) if path.is_file())
    spec = importlib.util.spec_from_file_location('env_report', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == '__main__':
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(load_report().main())
