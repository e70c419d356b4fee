r"""Nodes of whole hand-drawn process diagrams at 256 px: small shapes, but all that stands around them is in sight.

The pictures are made of the large ones:

    python tools/dataset_tools/slice_coco.py data/hdbpmn/annotations/train.json data/hdbpmn \
      -o data/hdbpmn_256 --long-side 256 --tile 256
    python tools/dataset_tools/slice_coco.py data/hdbpmn/annotations/val.json data/hdbpmn \
      -o data/hdbpmn_256 --long-side 256 --tile 256 --keep-empty
"""

_base_ = 'hdbpmn_nodes_tiles.py'

data_root = '{{$MMDET_EXT_HDBPMN_256:data/hdbpmn_256}}/'
num_workers = 0

workers = dict(num_workers=num_workers, persistent_workers=False)
train_dataloader = dict(dataset=dict(data_root=data_root), **workers)
val_dataloader = dict(dataset=dict(data_root=data_root), **workers)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
