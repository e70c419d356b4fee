"""The log: "one 只对特定几类建立图的关系 从 original 进行finetune; 加上了背景类" (graph among ten classes only, and
background; fine-tuned from original), "one 重训box mAP50:30.01 mAP1:44.06 512box default, mAP50:29.64 mAP1:43.61
512box 512box" (box retrained).

The graph has edges among the log's ten classes only. The phantom has just these; of other data give the names they
have, as here of ChestX-Det (`--restrict-missing drop` drops names that a data set lacks):

python tools/dataset_tools/category_graph.py build data/chest_phantom/annotations/train.json \
    -o data/chest_phantom/ten_classes.catgraph.json --restrict "multiple nodules" "diffuse nodules" cavity fibrosis \
    nodule atelectasis consolidation tuberculosis mass "pleural effusion"
python tools/dataset_tools/category_graph.py build data/chestx_det/annotations/train.json \
    -o data/chestx_det/ten_classes.catgraph.json \
    --restrict "Diffuse Nodule" Fibrosis Nodule Atelectasis Consolidation Mass Effusion
"""

_base_ = './_base_/own_category.py'

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/ten_classes.catgraph.json'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(graph=graph))))
