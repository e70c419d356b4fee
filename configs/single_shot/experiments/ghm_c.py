"""The log: "回滚到step1066300-ep073-loss5.715.pd，设置 使用ghm_c_loss" (rolled back to row 5).

Row 5 rolled back to, with GHM-C over the whole batch. The log's loss was divided by the number of positives once more,
which leaves next to nothing of it: classification hardly learnt, so its figures do not tell what GHM-C does.
"""

_base_ = './_base_/rollback.py'

model = dict(
    bbox_head=dict(
        loss_cls=dict(_delete_=True, type='GHMCLoss', use_sigmoid=True, bins=30, momentum=0.75, scope='batch')
    )
)
