"""What a prior has to predict for boxes and points, and back."""

from .landmark_coder import LandmarkCoder

__all__ = ['LandmarkCoder']
