"""The plain detector on training images of which some are annotated wrongly; 600 iterations, however many are left.

python tools/dataset_tools/plant_label_noise.py data/chest_phantom/annotations/train.json \
  -o data/chest_phantom/annotations/train_noisy.json
"""

_base_ = './faster-rcnn_r18-gn_fpn_chest-phantom.py'

# As many as 8 epochs of all images: with fewer images an epoch would be shorter.
max_iters = 600

train_dataloader = dict(
    dataset=dict(
        type='ScreenedCocoDataset',
        ann_file='annotations/train_noisy.json',
        screened=None,
        metainfo=dict(
            source=[
                'python tools/dataset_tools/make_chest_phantom.py --out data/chest_phantom, then',
                'python tools/dataset_tools/plant_label_noise.py data/chest_phantom/annotations/train.json',
                '-o data/chest_phantom/annotations/train_noisy.json',
            ],
        ),
    ),
)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
