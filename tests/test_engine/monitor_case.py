"""A detector of a few weights that can be made to give NaN for chosen images, and what runs a hook around its steps."""

import logging
from types import SimpleNamespace

import torch
from mmdet.structures import DetDataSample
from mmengine.dist import all_reduce
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from torch import nn

# Images with a pixel above it come out of `Breaker` as NaN.
MARK = 100.0


class Breaker(nn.Module):
    """Passes images on; one value of a marked one becomes `self.value`."""

    def __init__(self, value=float('nan')):
        super().__init__()
        self.value = value

    def forward(self, images):
        marked = images.flatten(1).amax(dim=1) > MARK
        broken = images.clone()
        broken[:, 0, 0, 0] = torch.where(marked, self.value, broken[:, 0, 0, 0])
        return broken.clamp(max=1)


class Toy(BaseModel):
    """Stem, norm, dropout, and one head for two levels; it counts its calls and adds up a number over the ranks.

    `between` makes the NaN of marked images outside of any module.
    """

    def __init__(self, value=float('nan'), between=False):
        super().__init__()
        self.breaker = Breaker(value)
        self.stem = nn.Conv2d(1, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Conv2d(4, 1, 1)
        self.between = between
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.calls += 1
        images = torch.log(MARK - inputs).clamp(max=1) if self.between else self.breaker(inputs)
        features = self.drop(self.norm(self.stem(images)))
        first, second = (self.head(level) for level in (features, features[..., ::2, ::2]))
        total = torch.tensor(float(len(inputs)))
        all_reduce(total)
        return {
            'loss_a': first.square().sum() / total,
            'loss_b': [second.square().mean(), images.square().mean()],
            'loss_c': inputs.clamp(max=1).mean(),
            'acc': total,
        }


def batch(*marked, size=2, path=True):
    """Images 0.png, 1.png ..., with boxes; the marked ones break."""
    inputs = torch.rand(size, 1, 4, 4)
    for index in marked:
        inputs[index, 0, 2, 2] = 2 * MARK
    samples = []
    for index in range(size):
        sample = DetDataSample(metainfo={'img_path': f'folder/{index}.png', 'img_id': index} if path else {})
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[0.0, 0, 2, 2]]), labels=torch.tensor([0]))
        samples.append(sample)
    return {'inputs': inputs, 'data_samples': samples}


class FakeRunner(SimpleNamespace):
    """What the hooks read of a Runner; `step` trains an iteration as mmengine's loops do."""

    def __init__(self, hook, model, folder, epoch=4, **wrapper):
        self.said = []
        logger = SimpleNamespace(log=lambda level, text: self.said.append((logging.getLevelName(level), text)))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        super().__init__(
            hook=hook,
            model=model.train(),
            optim_wrapper=OptimWrapper(optimizer, **wrapper),
            iter=0,
            epoch=0,
            train_dataloader=range(epoch),
            message_hub=SimpleNamespace(log_scalars={}),
            logger=logger,
            work_dir=str(folder),
            log_dir=str(folder),
        )
        hook.before_train(self)

    def step(self, data):
        self.hook.before_train_iter(self, batch_idx=self.iter, data_batch=data)
        outputs = self.model.train_step(data, self.optim_wrapper)
        self.log(outputs)
        self.hook.after_train_iter(self, batch_idx=self.iter, data_batch=data, outputs=outputs)
        self.iter += 1
        return outputs

    def log(self, outputs):
        for name, value in outputs.items():
            self.message_hub.log_scalars.setdefault(f'train/{name}', HistoryBuffer()).update(float(value))

    def texts(self, level='WARNING'):
        return [text for said, text in self.said if said == level]


def weights(model):
    """A copy of the state dict."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def untouched(model):
    """Nothing hangs on the model."""
    hooked = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    return not hooked and 'parse_losses' not in vars(model)
