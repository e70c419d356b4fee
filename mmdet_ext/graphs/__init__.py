"""Category graphs: how often classes occur together, as a matrix with names (numpy and the standard library only)."""

from .category_graph import CategoryGraph

__all__ = ['CategoryGraph']
