"""Command line arguments that the tools for a config share."""

import argparse

from .cfg_options import CfgOptionsAction


def add_cfg_options(parser: argparse.ArgumentParser, example: str = '') -> None:
    """Add `--cfg-options`.

    Args:
        parser: Of a tool that hands them on to `load_config`.
        example: `KEY=VALUE` pairs for its help.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptionsAction,
        metavar='KEY=VALUE',
        help='settings merged into the config' + (f', e.g. {example}' if example else ''),
    )


def add_config_arguments(parser: argparse.ArgumentParser, example: str = '') -> None:
    """Add `--dataset` and `--cfg-options`.

    Args:
        parser: Of a tool that hands both on to `load_config`.
        example: See `add_cfg_options`.
    """
    parser.add_argument('--dataset', help='config whose loaders, evaluators and classes replace those of CONFIG')
    add_cfg_options(parser, example)
