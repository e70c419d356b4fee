"""Transforms of the data pipeline."""

from .face_random_crop import FaceRandomCrop
from .landmark_albu import LandmarkAlbu
from .landmark_random_crop import LandmarkRandomCrop
from .landmark_random_flip import LandmarkRandomFlip
from .landmark_resize import LandmarkResize
from .load_landmark_annotations import LoadLandmarkAnnotations
from .load_parts import LoadParts
from .pack_landmark_inputs import PackLandmarkInputs
from .pack_part_inputs import PackPartInputs

__all__ = [
    'FaceRandomCrop',
    'LandmarkAlbu',
    'LandmarkRandomCrop',
    'LandmarkRandomFlip',
    'LandmarkResize',
    'LoadLandmarkAnnotations',
    'LoadParts',
    'PackLandmarkInputs',
    'PackPartInputs',
]
