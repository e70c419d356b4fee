"""Draw the pictures of the site into `docs/pictures/`: `python docs/building/pictures.py [NAME ...]`.

They are drawn by the package's own functions, so they show what the code does; the files are committed, so that a page
can be read without building anything. The same versions draw the same bytes.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

# The date that matplotlib writes into an SVG.
os.environ.setdefault('SOURCE_DATE_EPOCH', '0')

import matplotlib
from draw_heads import draw_head, draw_ssh
from draw_losses import draw_assigner, draw_complete_iou, draw_gradient_density
from draw_phantoms import draw_category_graph, draw_faces, draw_parts
from draw_relations import draw_counts, draw_geometry, draw_kernels

PICTURES: dict[str, Callable[[Path], object]] = {
    'assigner.svg': draw_assigner,
    'category_graph.svg': draw_category_graph,
    'complete_iou.svg': draw_complete_iou,
    'counts.svg': draw_counts,
    'faces.jpg': draw_faces,
    'geometry.svg': draw_geometry,
    'gradient_density.svg': draw_gradient_density,
    'head.svg': draw_head,
    'kernels.svg': draw_kernels,
    'parts.png': draw_parts,
    'ssh.svg': draw_ssh,
}
FOLDER = Path(__file__).parents[1] / 'pictures'


def draw(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """Draw the pictures of these names, suffix included, and return their files."""
    with matplotlib.rc_context({'svg.hashsalt': 'mmdet_ext'}):
        for name in names:
            PICTURES[name](folder / name)
    return [folder / name for name in names]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', help=f'of {", ".join(Path(name).stem for name in PICTURES)} (default: all)')
    wanted = parser.parse_args().names
    unknown = sorted(set(wanted) - {Path(name).stem for name in PICTURES})
    if unknown:
        parser.error(f'there is no picture {unknown[0]}')
    for file in draw([name for name in PICTURES if not wanted or Path(name).stem in wanted]):
        print(file)


if __name__ == '__main__':
    main()
