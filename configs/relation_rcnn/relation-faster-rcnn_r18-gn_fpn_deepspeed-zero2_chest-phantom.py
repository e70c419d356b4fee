"""The relation detector of the demo by DeepSpeed, ZeRO stage 2: gradients and optimiser are shared out, in float32.

Stage 3 would share out the weights too, and relations read those of the base classifier outside of its `forward`.
"""

_base_ = 'relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'

runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2),
    # Takes the place of `clip_grad`, which DeepSpeed's wrapper does not know.
    gradient_clipping=10.0,
)
optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr={{_base_.lr}}, weight_decay={{_base_.weight_decay}}),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
