"""Command line arguments that the tools for the phantoms share."""

import argparse


def add_phantom_arguments(parser: argparse.ArgumentParser, out: str, size: int) -> None:
    """Add the arguments of `make_phantom`.

    Args:
        parser: Of a tool that hands them on.
        out: Default folder.
        size: Default side of the images in pixels.
    """
    parser.add_argument('--out', default=out, help='folder to write')
    parser.add_argument('--train', type=int, default=600, help='number of training images')
    parser.add_argument('--val', type=int, default=200, help='number of validation images')
    parser.add_argument('--size', type=int, default=size, help='side of the images in pixels')
    parser.add_argument('--seed', type=int, default=0, help='names the data set')
    parser.add_argument('--preview', action=argparse.BooleanOptionalAction, default=True, help='write a contact sheet')
    parser.add_argument('--overwrite', action='store_true', help='replace a phantom of other parameters')
