"""Category graphs: how often classes occur together, as a matrix with names (numpy and the standard library only)."""

from .category_graph import CategoryGraph
from .compare import compare_graphs
from .legacy import import_graph

__all__ = ['CategoryGraph', 'compare_graphs', 'import_graph']
