"""Arguments that the tools for the phantoms share; test_tools/test_make_phantom.py runs the tools themselves."""

import argparse
import inspect

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.phantoms.phantom_arguments import add_phantom_arguments


def test_they_are_the_arguments_of_the_function():
    parser = argparse.ArgumentParser()
    add_phantom_arguments(parser, out='here', size=160)
    defaults = {name: value.default for name, value in inspect.signature(make_chest_phantom).parameters.items()}
    del defaults['progress']  # always shown by a tool
    assert vars(parser.parse_args([])) == {**defaults, 'out': 'here'}
