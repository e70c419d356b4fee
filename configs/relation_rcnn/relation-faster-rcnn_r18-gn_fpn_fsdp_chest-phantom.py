"""The relation detector of the demo by FSDP: weights, gradients and optimiser are shared out over the ranks."""

_base_ = 'relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'

runner_type = 'FlexibleRunner'
strategy = dict(
    type='ShardedStrategy',
    # Stages of the backbone are units; a head must not be one, see `wrap_classes`.
    model_wrapper=dict(auto_wrap_policy=dict(type='wrap_classes', names=['ResLayer'])),
)
