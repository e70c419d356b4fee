"""The log: "yy_base_cls 使用yangyan123数据" (with the data of yangyan123).

As `base_cls`, trained on another annotator's boxes of the same pictures. Those of the log are private.
"""

_base_ = './base_cls.py'

annotations = 'annotations/train_yangyan123.json'
source = (
    'the annotations of yangyan123 are private: put those of your own second annotator (COCO json) there, or see '
    'that the run works with a copy of annotations/train.json'
)

train_dataloader = dict(dataset=dict(ann_file=annotations, metainfo=dict(source=[source])))
