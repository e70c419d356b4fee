r"""WIDER FACE as COCO json, for COCO's metrics and the tools that read COCO json.

    python tools/dataset_tools/wider2coco.py data/WIDERFace/retinaface_gt_v1.1/train/label.txt \
      data/WIDERFace/WIDER_train/images -o data/WIDERFace/annotations/train.json
    python tools/dataset_tools/wider2coco.py data/WIDERFace/wider_face_split/wider_face_val_bbx_gt.txt \
      data/WIDERFace/WIDER_val/images -o data/WIDERFace/annotations/val.json
"""

_base_ = './wider_face.py'

data_root = '{{$MMDET_EXT_WIDERFACE:data/WIDERFace}}/'

train_dataloader = dict(dataset=dict(type='CocoLandmarkDataset', ann_file='annotations/train.json'))
val_dataloader = dict(dataset=dict(type='CocoLandmarkDataset', ann_file='annotations/val.json'))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True, type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', classwise=True
)
test_evaluator = val_evaluator
