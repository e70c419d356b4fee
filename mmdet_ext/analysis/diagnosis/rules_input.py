"""Rules about the input of the model: channels, normalisation, size, and images that differ between splits."""

from collections.abc import Mapping

import numpy as np

from .evidence import Evidence
from .rule_tools import failed, gap, helped, number, percent, returned, strongest, tell_trial
from .verdict import Finding

Limits = Mapping[str, float]
_PIXELS = {
    'pixels_raw': ('no normalisation', 'mean=None, std=None'),
    'pixels_unit': ('pixels from 0 to 1', 'mean=[0, 0, 0], std=[255, 255, 255]'),
    'pixels_imagenet': (
        "ImageNet's mean and std",
        'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True',
    ),
}


def swapped_channels(evidence: Evidence, limits: Limits) -> Finding | None:
    """Red and blue are exchanged."""
    trial, found = strongest(evidence, ('channels',))
    splits = helped(evidence, trial, found, limits['fall'])
    if not splits:
        return None
    # What is wrong in one split only stands in its files or its pipeline, not in the data preprocessor.
    everywhere = len(splits) == len(found)
    flipped = bool(_preprocessor(evidence).get('bgr_to_rgb'))
    fix = f'Set model.data_preprocessor.bgr_to_rgb={not flipped}.'
    if not everywhere:
        fix = (
            f'Compare how the images of {splits[0]} are loaded (`LoadImageFromFile`, imdecode_backend, channel_order).'
        )
    return Finding(
        returned(evidence, trial, splits),
        tell_trial(evidence, trial, splits, 'the channels in reverse order'),
        f'Red and blue are exchanged{"" if everywhere else " in " + splits[0]}: these weights were trained on the '
        'other order.',
        fix,
    )


def wrong_normalisation(evidence: Evidence, limits: Limits) -> Finding | None:
    """Mean and std are not those of the training."""
    trial, found = strongest(evidence, _PIXELS)
    splits = helped(evidence, trial, found, limits['fall'])
    check = failed(evidence, 'pixels')
    if splits and len(splits) == len(found):
        what, fix = _PIXELS[trial]
        return Finding(
            returned(evidence, trial, splits),
            tell_trial(evidence, trial, splits, what) + (f' {check.sentence}' if check else ''),
            'The weights were trained with other pixel values than this config gives them.',
            f'Set model.data_preprocessor to {fix}, or to what the training had.',
        )
    if check is None:
        return None
    size = float(np.nanmax(np.abs(evidence.judged.pixels[0]), initial=0.0))
    if size < limits['far'] or gap(evidence) > limits['gap']:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        f'{check.sentence} Inputs have a mean of up to {number(size)} standard deviations of what the model expects.',
        'The data preprocessor does not fit the images.',
        check.fix,
    )


def _preprocessor(evidence: Evidence) -> Mapping:
    node = (evidence.cfg.get('model') or {}).get('data_preprocessor') or {}
    while isinstance(node.get('data_preprocessor'), Mapping):
        node = node['data_preprocessor']
    return node


def other_test_size(evidence: Evidence, limits: Limits) -> Finding | None:
    """Test images are resized to another size than those of training."""
    check = failed(evidence, 'input_size')
    if check is None:
        return None
    trial = 'double' if check.figures['ratio'] > 1 else 'half'
    found = strongest(evidence, (trial,))[1]
    splits = helped(evidence, trial, found, limits['fall'])
    gain = returned(evidence, trial, splits) if splits else limits['share'] * evidence.headroom
    told = ' ' + tell_trial(evidence, trial, splits, f'an input of {trial} size') if splits else ''
    return Finding(
        gain,
        f'{check.sentence}{told}',
        'The detector has learnt objects of another size in pixels than it is shown.',
        check.fix,
    )


def objects_too_small(evidence: Evidence, limits: Limits) -> Finding | None:
    """The resize leaves too little of the objects."""
    if failed(evidence, 'input_size') or not len(evidence.judged.object_sizes):
        return None
    trial, found = strongest(evidence, ('double',))
    splits = helped(evidence, trial, found, limits['fall'])
    median = float(np.median(evidence.judged.object_sizes))
    tiny = float((evidence.judged.object_sizes < limits['pixels']).mean())
    if not splits and tiny < limits['share']:
        return None
    gain = returned(evidence, trial, splits) if splits else evidence.headroom * limits['worth'] * tiny
    told = ' ' + tell_trial(evidence, trial, splits, 'an input of double size') if splits else ''
    return Finding(
        gain,
        f'Half of the objects are smaller than {median:.0f} pixels in the input of the model, {percent(tiny)} smaller '
        f'than {limits["pixels"]:.0f}.{told}',
        'The resize shrinks objects below what the finest level can see.',
        'Enlarge `scale` of Resize in the pipelines, cut images into tiles (tools/dataset_tools/slice_coco.py), or add '
        'a finer level to the neck.',
    )


def objects_too_large(evidence: Evidence, limits: Limits) -> Finding | None:
    """The resize enlarges objects beyond what the detector knows."""
    if failed(evidence, 'input_size'):
        return None
    trial, found = strongest(evidence, ('half',))
    splits = helped(evidence, trial, found, limits['fall'])
    if not splits:
        return None
    return Finding(
        returned(evidence, trial, splits),
        tell_trial(evidence, trial, splits, 'an input of half size'),
        'The resize makes objects larger than those the detector was trained on.',
        'Make `scale` of Resize in the test pipeline smaller, as in the training of these weights.',
    )


def distorted_images(evidence: Evidence, limits: Limits) -> Finding | None:
    """The resize changes the shape of images, in test otherwise than in training."""
    check = failed(evidence, 'input_shape')
    if check is None:
        return None
    return Finding(
        limits['share'] * evidence.headroom,
        check.sentence,
        'Images are stretched at test time, and objects with them.',
        check.fix,
    )


def domain_gap(evidence: Evidence, limits: Limits) -> Finding | None:
    """Images of validation look different from those of training."""
    train, val = evidence.splits.get('train'), evidence.splits.get('val')
    if train is None or val is None or gap(evidence) < limits['gap']:
        return None
    if len(train.image_pixels) < 2 or len(val.image_pixels) < 2:
        return None
    spread = np.maximum(train.image_pixels.std(0), limits['floor'])
    distance = np.abs(val.image_pixels.mean(0) - train.image_pixels.mean(0)) / spread
    if distance.max() < limits['distance']:
        return None
    part, channel = np.unravel_index(int(distance.argmax()), distance.shape)
    what = ('mean', 'standard deviation')[part]
    values = [float(each.image_pixels.mean(0)[part, channel]) for each in (train, val)]
    return Finding(
        gap(evidence),
        f'AP is {train.ap:.3f} on train and {val.ap:.3f} on val. The {what} of channel {channel} of the input is '
        f'{values[0]:.2f} on train and {values[1]:.2f} on val, {distance.max():.0f} times the spread between training '
        'images.',
        'Images of val come from another source, or are loaded otherwise, than those of training.',
        'Compare images of both splits in the report; add images like those of val, or PhotoMetricDistortion, to '
        'train_dataloader.dataset.pipeline.',
    )
