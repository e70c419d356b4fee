"""Phase 1 of two: the RPN alone, on images that screening has left; ablations/screening_full.yml has the commands."""

_base_ = './faster-rcnn_r18-gn_fpn_600i_chest-phantom-noisy.py'

model = dict(
    _delete_=True,
    type='RPN',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    neck={{_base_.model.neck}},
    rpn_head={{_base_.model.rpn_head}},
    train_cfg=dict(rpn={{_base_.model.train_cfg.rpn}}),
    test_cfg=dict(rpn={{_base_.model.test_cfg.rpn}}),
)
train_dataloader = dict(dataset=dict(screened='work_dirs/screening/screened.json'))

# Recall of the proposals, whatever their class.
val_evaluator = dict(metric='proposal', classwise=False)
test_evaluator = val_evaluator
