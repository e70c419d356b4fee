"""As single-shot_r50_fpn.py, with deformable convs in the last three stages of the backbone."""

_base_ = './single-shot_r50_fpn.py'

model = dict(
    backbone=dict(
        dcn=dict(type='DCN', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    )
)
