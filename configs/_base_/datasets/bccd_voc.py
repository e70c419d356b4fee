"""Blood cells (https://github.com/Shenggan/BCCD_Dataset, MIT), read from the VOC xml files they come with."""

_base_ = './bccd.py'

prefix = dict(_delete_=True, sub_data_root='BCCD/')

train_dataloader = dict(
    dataset=dict(type='VOCDataset', ann_file='BCCD/ImageSets/Main/train.txt', data_prefix=prefix),
)
val_dataloader = dict(
    dataset=dict(type='VOCDataset', ann_file='BCCD/ImageSets/Main/val.txt', data_prefix=prefix),
)
test_dataloader = dict(
    dataset=dict(type='VOCDataset', ann_file='BCCD/ImageSets/Main/test.txt', data_prefix=prefix),
)

val_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
