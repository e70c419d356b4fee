"""Blood cells, levels upsampled by a learnt deconvolution and added, near DSSD, which multiplies."""

_base_ = './single-shot_r18-gn_fpn_bccd.py'

norm_cfg = dict(type='GN', num_groups=16)

model = dict(
    neck=dict(
        _delete_=True,
        type='FPN_CARAFE',
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        start_level=1,
        num_outs=4,
        norm_cfg=norm_cfg,
        upsample_cfg=dict(type='deconv', upsample_kernel=3),
    )
)
