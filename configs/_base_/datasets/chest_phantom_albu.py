"""The chest phantom with augmentations of Albumentations (requirements/optional.txt); boxes and masks follow.

Landmarks and parts would too: `LandmarkAlbu` goes into any pipeline behind the transform that loads the annotations.
"""

_base_ = 'chest_phantom.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='LandmarkAlbu',
        transforms=[
            dict(type='Affine', rotate=(-7, 7), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.5),
            dict(type='RandomBrightnessContrast', brightness_limit=0.1, contrast_limit=0.2, p=0.5),
            dict(type='GaussNoise', std_range=(0.01, 0.04), p=0.3),
        ],
        bbox_params=dict(min_visibility=0.3),
    ),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
