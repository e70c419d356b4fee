"""SGD for faces, 100 epochs of 32 images a step. A warm-up and clipped gradients: WIDER FACE ends in NaN without."""

max_epochs = 100
milestones = [70, 90]
lr = 1e-3
warmup_iters = 1000

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=35.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=warmup_iters),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=milestones, gamma=0.1),
]
# `--auto-scale-lr` scales the rate for another total batch size.
auto_scale_lr = dict(enable=False, base_batch_size=32)
