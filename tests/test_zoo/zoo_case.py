"""A repository with one family: `tiny`, which a test can train, and `large`, which nobody does."""

from pathlib import Path
from typing import Any

from mmdet_ext.zoo.metafile import write_metafile
from tests.tiny_coco import make_tiny_coco, tiny_config

METAFILE = 'configs/small/metafile.yml'
README = (
    f'# Small\n\n<!-- zoo {METAFILE}: begin -->\n<!-- zoo {METAFILE}: end -->\n'
)  # fmt: skip


def entry(name: str, **more: Any) -> dict[str, Any]:
    """An entry of `Untrained`."""
    return {
        'Name': name,
        'In Collection': 'Small',
        'Config': f'configs/small/{name}.py',
        'Metadata': {'Training Data': 'tiny', 'Epochs': 1},
        **more,
    }


def content(**lists: Any) -> dict[str, Any]:
    """Of a metafile; lists replace its own."""
    collection = {
        'Name': 'Small',
        'Metadata': {'Architecture': ['RetinaNet']},
        'Paper': {'URL': 'https://arxiv.org/abs/1708.02002', 'Title': 'Focal Loss'},
        'README': 'configs/small/README.md',
        'Code': {'URL': 'configs/small/tiny.py', 'Version': '1'},
    }
    untrained = [entry('tiny', Zoo=True), entry('large')]
    return {'Collections': [collection], 'Models': [], 'Untrained': untrained, **lists}


def make_root(root: Path) -> Path:
    """Write the repository, with data; tables are empty."""
    family = root / 'configs' / 'small'
    family.mkdir(parents=True)
    (root / 'configs' / '_base_').mkdir()
    (root / 'model-index.yml').write_text(f'Import:\n- {METAFILE}\n')
    (family / 'tiny.py').write_text(tiny_config(make_tiny_coco(root / 'data', n=4), epochs=1))
    (family / 'large.py').write_text("_base_ = './tiny.py'\n")
    (family / 'metafile.yml').write_text('# Its head.\n')
    write_metafile(family / 'metafile.yml', content())
    (family / 'README.md').write_text(README)
    return root
