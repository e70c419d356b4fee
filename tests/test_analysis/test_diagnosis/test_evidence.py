"""Which split is judged, and what AP could come back."""

import pytest
from mmengine.config import Config

from mmdet_ext.analysis.diagnosis.evidence import Evidence, SplitEvidence


def evidence(**images):
    splits = {name: SplitEvidence(name, number, number, ap=0.25) for name, number in images.items()}
    return Evidence(Config(), 'a.pth', ['a'], splits=splits)


@pytest.mark.parametrize(
    ('images', 'split'),
    [
        (dict(train=3, val=2), 'val'),
        (dict(train=3, test=2, val=1), 'val'),
        (dict(train=3, test=2), 'test'),
        (dict(train=3), 'train'),
        # Only images of training were asked for by --image-ids.
        (dict(train=3, val=0), 'train'),
        (dict(train=3, val=0, test=1), 'test'),
        (dict(train=0, val=0), 'val'),
    ],
)
def test_the_split_that_is_judged(images, split):
    assert evidence(**images).judged.split == split


def test_headroom():
    assert evidence(val=1).headroom == 0.75
    bare = Evidence(Config(), 'a.pth', ['a'], splits={'val': SplitEvidence('val', 1, 0)})
    assert bare.headroom == 1.0
