"""Build of mmdet_ext: plain setuptools plus the `.mim/` folder that mmengine, mim and the inferencers read.

A wheel gets a copy of `configs/`, `tools/` and `model-index.yml` below `mmdet_ext/.mim/`; an editable install gets
links, so that a changed config is seen at once. Nothing is copied inside the source tree.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_CONTENT = ('configs', 'tools', 'model-index.yml')
# Outside the tree: a `build/` left by an earlier build would leak files that are deleted since into the wheel, and a
# read-only tree could not be built at all.
SCRATCH = tempfile.TemporaryDirectory(prefix='mmdet-ext-build-')
OPTIONS = {'build': {'build_base': SCRATCH.name}}
if not os.access(ROOT, os.W_OK):
    OPTIONS['egg_info'] = {'egg_base': SCRATCH.name}


class BuildWithMim(build_py):
    """`build_py` that also fills `mmdet_ext/.mim/`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            fill_mim(ROOT / 'mmdet_ext' / '.mim', _link)
        else:
            fill_mim(Path(self.build_lib) / 'mmdet_ext' / '.mim', _copy)


def fill_mim(target: Path, place) -> None:
    """Put every entry of `MIM_CONTENT` below `target` by `place(source, destination)`, replacing what was there."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in MIM_CONTENT:
        place(ROOT / name, target / name)


def _copy(source: Path, destination: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, destination, ignore=shutil.ignore_patterns('__pycache__', '*.py[cod]', '.*'))
    else:
        shutil.copy2(source, destination)


def _link(source: Path, destination: Path) -> None:
    destination.symlink_to(os.path.relpath(source, destination.parent))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding='utf-8')


def requirements(name: str) -> list[str]:
    lines = (line.split('#')[0].strip() for line in read(name).splitlines())
    return [line for line in lines if line]


def version() -> str:
    return re.search(r"__version__ = '([^']+)'", read('mmdet_ext/version.py'))[1]


TESTS = requirements('requirements/tests.txt')
OPTIONAL = requirements('requirements/optional.txt')

setup(
    name='mmdet_ext',
    version=version(),
    description='Relation-aware detection, losses, assigners and diagnosis as a plugin for MMDetection 3.x',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    keywords='object detection, mmdetection, relation network',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    # `include`, not `exclude`: a top-level package `configs` in site-packages breaks every OpenMMLab inferencer.
    packages=find_packages(include=['mmdet_ext', 'mmdet_ext.*']),
    include_package_data=True,
    package_data={'mmdet_ext': ['py.typed']},
    python_requires='>=3.10',
    # Neither torch nor the hosts: the original and the onedl fork are distributions of the same modules, and pip would
    # install the one required here over the other one that is there.
    install_requires=requirements('requirements.txt'),
    extras_require={
        'mim': ['mmcv>=2.1.0,<2.2', 'mmdet>=3.3.0,<3.4', 'mmengine>=0.10.7,<0.11'],
        'onedl': ['onedl-mmcv>=2.3.6,<2.4', 'onedl-mmdetection>=3.5.1,<3.6', 'onedl-mmengine>=0.10.12,<0.11'],
        'tests': TESTS,
        'optional': OPTIONAL,
        'all': TESTS + OPTIONAL,
    },
    cmdclass={'build_py': BuildWithMim},
    options=OPTIONS,
    zip_safe=False,
)
