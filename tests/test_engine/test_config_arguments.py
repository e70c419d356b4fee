"""Arguments that tools share."""

import argparse

import pytest

from mmdet_ext.engine.config_arguments import add_config_arguments


@pytest.mark.parametrize('example', ['', 'a.b=1'])
def test_both_arguments(example):
    parser = argparse.ArgumentParser()
    add_config_arguments(parser, example)
    assert vars(parser.parse_args([])) == {'dataset': None, 'cfg_options': None}
    args = parser.parse_args(['--dataset', 'data.py', '--cfg-options', 'lr=0.1', 'names=["two words","b"]'])
    assert vars(args) == {'dataset': 'data.py', 'cfg_options': {'lr': 0.1, 'names': ['two words', 'b']}}
    assert ('e.g. a.b=1' in parser.format_help()) == bool(example)
