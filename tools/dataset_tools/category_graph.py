"""Category graphs (how often classes occur together): build, check, import, show, compare and randomise them."""

import argparse
import sys

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` configs known)
from mmdet_ext.analysis.graph_plot import plot_category_graph
from mmdet_ext.analysis.graph_report import config_classes, describe_graph, report_check, report_difference
from mmdet_ext.graphs import CategoryGraph, import_graph
from mmdet_ext.graphs.names import group_pairs

BUILD_OPTIONS = (
    'level', 'norm', 'restrict', 'background', 'classes', 'self_loop', 'min_count', 'smooth', 'exclude_crowd',
    'include_empty', 'restrict_missing',
)  # fmt: skip


def parse_merge(text: str) -> tuple[str, list[str]]:
    """`new=old1,old2` -> `('new', ['old1', 'old2'])`."""
    new, equals, old = text.partition('=')
    if not (equals and new and old):
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form new=old1,old2')
    return new, old.split(',')


def parse_drop(text: str) -> tuple[str, list[str]]:
    """`nodule:mass,cavity` -> `('nodule', ['mass', 'cavity'])`."""
    name, colon, others = text.partition(':')
    if not (colon and name and others):
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form class:present1,present2')
    return name, others.split(',')


def build(args: argparse.Namespace) -> None:
    """Count, save, and draw where that is asked for."""
    options = {key: getattr(args, key) for key in BUILD_OPTIONS}
    merge, drop_if = group_pairs(args.merge), group_pairs(args.drop_if)
    deliver(CategoryGraph.from_coco(args.annotations, merge=merge, drop_if=drop_if, **options), args)


def check(args: argparse.Namespace) -> int:
    """Compare with the class names of a data set."""
    return report_check(args.file, args.classes or config_classes(args.config))


def import_(args: argparse.Namespace) -> None:
    """Make a graph of a bare matrix."""
    deliver(import_graph(args.file, args.classes or config_classes(args.config), args.background), args)


def show(args: argparse.Namespace) -> None:
    """Print tables, and draw where that is asked for."""
    graph = CategoryGraph.load(args.file)
    print(describe_graph(graph, args.top))
    if args.picture:
        print(plot_category_graph(graph, args.picture))


def diff(args: argparse.Namespace) -> int:
    """Print what differs."""
    return report_difference(args.first, args.second, args.top)


def random(args: argparse.Namespace) -> None:
    """Make the control of a graph."""
    deliver(CategoryGraph.load(args.like).randomized(args.seed), args)


def deliver(graph: CategoryGraph, args: argparse.Namespace) -> None:
    """Save, or print where no file is named; and draw."""
    if args.out:
        print(f'{graph.save(args.out)}: {len(graph.classes)} classes, {graph.n_images} images')
    else:
        print(describe_graph(graph))
    if args.picture:
        print(plot_category_graph(graph, args.picture))


def add_output(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """What every command that makes a graph takes."""
    without = '' if required else '; without it the graph is printed'
    parser.add_argument('-o', '--out', required=required, help=f'file to write, .catgraph.json or .npz{without}')
    parser.add_argument('--picture', help='also draw the graph into this file')


def add_classes(parser: argparse.ArgumentParser, config_flag: str) -> None:
    """Class names, themselves or by a config."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(config_flag, dest='config', metavar='CONFIG', help='take the class names of its training data')
    group.add_argument('--classes', nargs='+', metavar='CLASS', help='class names in order')


def add_build(parser: argparse.ArgumentParser) -> None:
    """Options of counting and weighing."""
    add = parser.add_argument
    add('annotations', nargs='+', help='COCO json files of the training data')
    add_output(parser)
    add('--level', choices=('image', 'instance'), default='image', help='count images that show both classes, or boxes')
    norms = ('sqrt', 'row', 'sym', 'cond', 'none')
    add('--norm', choices=norms, default='sqrt', help='of the counts; row and cond make the graph directed')
    add('--classes', nargs='+', help="names in the order of the data set's metainfo; default the order of the file")
    add('--restrict', nargs='+', metavar='CLASS', help='edges among these classes only')
    add(
        '--restrict-missing',
        choices=('error', 'drop'),
        default='error',
        help='what to do with names of --restrict that the data lack',
    )
    add('--merge', nargs='+', type=parse_merge, default=[], metavar='NEW=OLD1,OLD2', help='count classes as one')
    dropped = 'do not count CLASS in images that show one of the others (names after --merge)'
    add('--drop-if', nargs='+', type=parse_drop, default=[], metavar='CLASS:PRESENT,...', help=dropped)
    add('--min-count', type=int, default=0, metavar='N', help='edges that were seen less often vanish')
    add('--smooth', type=float, default=0.0, metavar='X', help='weigh n_ij + X and n_i + X C instead of n_ij and n_i')
    add('--self-loop', type=float, default=1.0, metavar='W', help='weight of a class for itself')
    add('--background', choices=('identity', 'zero', 'uniform'), default='identity', help='row of the background')
    crowds = parser.add_mutually_exclusive_group()
    crowds.add_argument('--exclude-crowd', action='store_true', default=True, help='leave iscrowd annotations out')
    crowds.add_argument('--include-crowd', dest='exclude_crowd', action='store_false', help='count each as one box')
    empty = parser.add_mutually_exclusive_group()
    empty.add_argument('--include-empty', action='store_true', default=True, help='n_images includes empty images')
    empty.add_argument('--exclude-empty', dest='include_empty', action='store_false', help='n_images leaves them out')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.formatter_class = argparse.ArgumentDefaultsHelpFormatter
        added.set_defaults(run=run)
        return added

    add_build(command('build', build, 'Count which classes occur together in COCO annotation files.'))

    checked = command('check', check, 'Say whether a graph fits a data set; exit code 1 if it does not.')
    checked.add_argument('file', help='graph file')
    add_classes(checked, '--config')

    imported = command('import', import_, 'Make a graph file of a bare matrix, without running what a pickle holds.')
    imported.add_argument('file', help='.pkl, .pickle, .npy or .csv')
    add_classes(imported, '--classes-from')
    places = imported.add_mutually_exclusive_group()
    for place, text in (('first', 'Reasoning-RCNN'), ('last', 'mmdet 2 and later')):
        flag = f'--background-{place}'
        places.add_argument(flag, dest='background', action='store_const', const=place, help=f'as in {text}')
    places.add_argument('--no-background', dest='background', action='store_const', const='none', help='C x C matrix')
    add_output(imported)

    shown = command('show', show, 'Print tables about a graph.')
    shown.add_argument('file', help='graph file')
    shown.add_argument('--top', type=int, default=20, help='rows of each table')
    shown.add_argument('--picture', help='also draw the graph into this file')

    compared = command('diff', diff, 'Print what differs between two graphs; exit code 1 if anything does.')
    compared.add_argument('first', help='graph file')
    compared.add_argument('second', help='graph file')
    compared.add_argument('--top', type=int, default=20, help='number of edges to print')

    control = command('random', random, 'The same edge weights between other classes: the control of a graph.')
    control.add_argument('--like', required=True, metavar='FILE', help='graph file')
    control.add_argument('--seed', type=int, required=True, help='of the new places')
    add_output(control, required=False)
    return parser.parse_args()


if __name__ == '__main__':
    arguments = parse_args()
    try:
        sys.exit(arguments.run(arguments))
    except (ValueError, KeyError, FileNotFoundError) as error:
        # As of diff: 1 is an answer, 2 is trouble.
        print(f'error: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        sys.exit(2)
