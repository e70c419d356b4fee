"""RetinaFace on the face phantom, from scratch on two CPU cores."""

_base_ = [
    '../_base_/models/retina-face_r18-gn_fpn-ssh.py',
    '../_base_/datasets/face_phantom_landmarks.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

visualizer = dict(type='LandmarkLocalVisualizer')
