"""Bad files of good ones."""

import json
import random
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from mmdet_ext.reliability.hostile import samples
from mmdet_ext.reliability.hostile.mutations import (
    misplace,
    mutate_bytes,
    mutate_json,
    mutate_text,
    mutate_xml,
    random_json,
)

KINDS = [
    (mutate_bytes, samples.wider),
    (mutate_json, samples.coco),
    (mutate_text, samples.retinaface),
    (mutate_xml, samples.voc),
]


@pytest.mark.parametrize(('mutate', 'good'), KINDS)
def test_most_files_change_and_the_same_seed_gives_the_same(mutate, good):
    raw = good()
    made = [mutate(raw, random.Random(seed)) for seed in range(60)]
    assert made == [mutate(raw, random.Random(seed)) for seed in range(60)]
    assert len(set(made)) > 40
    assert sum(one == raw for one in made) < 6


def test_many_changed_files_still_have_their_form():
    """Else readers would stop at the parser, and nothing behind it were tried."""

    def parses(parse, raw):
        try:
            parse(raw)
        except Exception:
            return False
        return True

    made = [mutate_json(samples.coco(), random.Random(seed)) for seed in range(200)]
    assert sum(parses(json.loads, raw) for raw in made) > 120
    made = [mutate_xml(samples.voc(), random.Random(seed)) for seed in range(200)]
    assert 20 < sum(parses(ET.fromstring, raw) for raw in made) < 200


def test_bytes_of_nothing():
    assert all(isinstance(mutate_bytes(b'', random.Random(seed)), bytes) for seed in range(50))


def test_made_up_values_are_json_of_every_type():
    values = [random_json(random.Random(seed)) for seed in range(300)]
    types = Counter(type(value) for value in values)
    assert {dict, list, str, float, int, bool, type(None)} <= set(types)
    assert all(json.loads(json.dumps(value)) is not value for value in values if isinstance(value, dict | list))


def test_misplaced(tmp_path):
    found = set()
    for seed in range(30):
        path = tmp_path / f'{seed}.json'
        misplace(path, random.Random(seed))
        found.add((path.is_dir(), path.is_symlink()))
        assert not path.is_file()
    assert found == {(False, False), (True, False), (False, True)}
