"""One set of tiny trainings for all tests of the process."""

import functools
import tempfile

from mmdet_ext.reliability.runs import Trainings


@functools.cache
def trainings() -> Trainings:
    folder = tempfile.TemporaryDirectory(prefix='reliability_')
    made = Trainings(folder.name, images=4)
    made.keep_folder = folder  # as long as the process lives
    return made
