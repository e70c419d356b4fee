"""Build the category graph of a data set: how often classes occur together in its training images."""

import argparse

from mmdet_ext.analysis.graph_plot import plot_category_graph
from mmdet_ext.graphs import CategoryGraph


def parse_merge(text: str) -> tuple[str, list[str]]:
    """`new=old1,old2` -> `('new', ['old1', 'old2'])`."""
    new, equals, old = text.partition('=')
    if not equals or not old:
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form new=old1,old2')
    return new, old.split(',')


def build(args: argparse.Namespace) -> None:
    """Count, save, and draw where that is asked for."""
    graph = CategoryGraph.from_coco(
        args.annotations,
        level=args.level,
        norm=args.norm,
        restrict=args.restrict,
        merge=dict(args.merge) or None,
        background=args.background,
        classes=args.classes,
    )
    print(f'{graph.save(args.out)}: {len(graph.classes)} classes, {graph.n_images} images')
    if args.picture:
        print(plot_category_graph(graph, args.picture))


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    add = commands.add_parser('build', formatter_class=argparse.ArgumentDefaultsHelpFormatter).add_argument
    add('annotations', nargs='+', help='COCO json files of the training data')
    add('-o', '--out', required=True, help='file to write, .catgraph.json or .npz')
    add('--level', choices=('image', 'instance'), default='image', help='count images that show both classes, or boxes')
    add('--norm', choices=('sqrt', 'row', 'sym', 'cond', 'none'), default='sqrt', help='normalisation of the counts')
    add('--classes', nargs='+', help="names in the order of the data set's metainfo; default the order of the file")
    add('--restrict', nargs='+', metavar='CLASS', help='edges among these classes only')
    add('--merge', nargs='+', type=parse_merge, default=[], metavar='NEW=OLD1,OLD2', help='count classes as one')
    add('--background', choices=('identity', 'zero', 'uniform'), default='identity', help='row of the background')
    add('--picture', help='also draw the graph into this file')
    return parser.parse_args()


if __name__ == '__main__':
    build(parse_args())
