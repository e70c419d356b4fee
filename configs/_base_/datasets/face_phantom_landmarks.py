"""The face phantom for detectors with landmarks: measures these too."""

_base_ = './face_phantom.py'

val_ann_file = '{{$MMDET_EXT_FACE_PHANTOM:data/face_phantom}}/annotations/val.json'
val_evaluator = [
    dict(type='CocoMetric', ann_file=val_ann_file, metric='bbox'),
    dict(type='WiderFaceMetric', ann_file=val_ann_file, empty_images='count'),
    dict(type='LandmarkNME', ann_file=val_ann_file),
]
test_evaluator = val_evaluator
