"""Plugin package for MMDetection 3.x: `custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)`.

Importing the package registers every module in mmdet's registries, makes `mmdet_ext::` config paths known to mmengine,
and lets torch read mmengine's training checkpoints without unpickling code.
"""

from mmengine.config.utils import MODULE2PACKAGE

from . import datasets, engine, evaluation, models, visualization
from .compat import CONFIG_PACKAGE, allow_checkpoint_types, check_versions, refuse_unsafe_checkpoints, widen_nms_scores
from .version import __version__

check_versions()
allow_checkpoint_types()
refuse_unsafe_checkpoints()
widen_nms_scores()
MODULE2PACKAGE.setdefault('mmdet_ext', CONFIG_PACKAGE)

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models', 'visualization']
