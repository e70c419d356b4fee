"""Visualizers, registered in mmdet's registry."""

from .landmark_visualizer import LandmarkLocalVisualizer

__all__ = ['LandmarkLocalVisualizer']
