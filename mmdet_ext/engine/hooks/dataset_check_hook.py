"""Looks at data, heads and evaluation pipelines before the first step."""

import warnings
from collections.abc import Iterator, Sequence

from mmdet.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmdet_ext.datasets.image_checks import ImageScope
from mmdet_ext.datasets.problems import Problem
from mmdet_ext.graphs import CategoryGraph

from ..class_counts import model_class_counts
from ..config_check import check_specs, raise_on_problems, unique
from ..dataset_spec import DatasetSpec, Split, dataset_specs
from ..module_outputs import unwrapped


def check_graphs(model: nn.Module, specs: Sequence[DatasetSpec]) -> Iterator[Problem]:
    """Compare the category graphs of a model with the class names of its data sets."""
    for name, module in model.named_modules():
        graph = getattr(module, 'graph', None)
        if not isinstance(graph, CategoryGraph):
            continue
        for spec in specs:
            try:
                with warnings.catch_warnings(record=True) as oddities:
                    warnings.simplefilter('always')
                    graph.check(spec.classes or ())
            except ValueError as error:
                yield Problem('error', f'model.{name}.graph', str(error))
            for oddity in oddities:
                yield Problem('warning', f'model.{name}.graph', str(oddity.message))


@HOOKS.register_module()
class DatasetCheckHook(Hook):
    """Check data sets and model before training, validation and testing; for mmdet's own tools.

    Our tools check the config before they build anything (`check_config`), which also covers what the constructor of a
    data set dies of. Training checks the validation data too, so that nothing fails after the first epoch. The main
    process looks and all ranks stop together.

    Args:
        images: Which images to decode: 'sample', 'all' or 'none', see `check_images`.
        num_images: Size of the sample of images.
        strict: Whether errors stop the run; False logs them as warnings.
        checked: Loaders ('train', 'val', 'test') whose data were checked before; our tools set it.
    """

    def __init__(
        self,
        images: ImageScope = 'sample',
        num_images: int = 200,
        strict: bool = True,
        checked: Sequence[Split] = (),
    ) -> None:
        if images not in ('sample', 'all', 'none'):
            raise ValueError(f"DatasetCheckHook: images must be 'sample', 'all' or 'none', but is {images!r}")
        self.images = images
        self.num_images = num_images
        self.strict = strict
        self.checked = frozenset(checked)
        self._seen: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Check the training and the validation data."""
        self._check(runner, ('train', 'val'))

    def before_val(self, runner: Runner) -> None:
        """Check the validation data, unless training did."""
        self._check(runner, ('val',))

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        self._check(runner, ('test',))

    def _check(self, runner: Runner, splits: Sequence[Split]) -> None:
        fresh = [split for split in splits if split not in self._seen]
        self._seen.update(fresh)
        if not fresh:
            return
        outcome: list[list[Problem]] = [[]]
        if is_main_process():
            model = unwrapped(runner.model)
            specs = []
            for split in fresh:
                # A training may have no validation.
                loop = getattr(runner, f'{split}_loop')
                dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
                specs += dataset_specs(dataset, f'{split}_dataloader.dataset', split)
            unchecked = [spec for spec in specs if spec.split not in self.checked]
            counts = list(model_class_counts(model))
            outcome = [
                [*check_specs(unchecked, counts, self.images, self.num_images), *unique(check_graphs(model, specs))]
            ]
        broadcast_object_list(outcome, src=0)
        raise_on_problems(outcome[0], strict=self.strict)
