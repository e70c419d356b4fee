"""Command line arguments that the tools for a config share."""

import argparse

from .cfg_options import CfgOptionsAction


def add_config_arguments(parser: argparse.ArgumentParser, example: str = '') -> None:
    """Add `--dataset` and `--cfg-options`.

    Args:
        parser: Of a tool that hands both on to `load_config`.
        example: `KEY=VALUE` pairs for the help of `--cfg-options`.
    """
    parser.add_argument('--dataset', help='config whose loaders, evaluators and classes replace those of CONFIG')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptionsAction,
        metavar='KEY=VALUE',
        help='settings merged into the config' + (f', e.g. {example}' if example else ''),
    )
