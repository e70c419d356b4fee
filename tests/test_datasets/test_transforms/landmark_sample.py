"""One image with faces, as a pipeline has it behind LoadLandmarkAnnotations."""

import numpy as np

from mmdet_ext.datasets.transforms import LoadLandmarkAnnotations

HEIGHT, WIDTH = 60, 80
BOXES = ((10, 8, 34, 40), (50, 20, 66, 44), (2, 46, 8, 54))
# Places in the box, as shares of its width and height.
PLACES = np.array([[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.75, 0.75]])


def face_landmarks(box, v=2, places=PLACES):
    """Five landmarks of a face, (5, 3)."""
    x1, y1, x2, y2 = box
    points = places * [x2 - x1, y2 - y1] + [x1, y1]
    return np.concatenate([points, np.full((5, 1), v)], axis=1)


def face_sample(boxes=BOXES, keypoints=None, shape=(HEIGHT, WIDTH), ignored=(), **load):
    """Results of a pipeline.

    Args:
        boxes: Faces, xyxy.
        keypoints: Landmarks of each face, (5, 3) or None; by default all have some but the last of three.
        shape: Height and width; a pixel tells its place: channel 0 is x, 1 is y.
        ignored: Indices of ignored faces.
        load: Options of LoadLandmarkAnnotations.
    """
    if keypoints is None:
        keypoints = [face_landmarks(box) if index != 2 else None for index, box in enumerate(boxes)]
    instances = [
        {'bbox': list(box), 'bbox_label': index, 'ignore_flag': int(index in ignored)}
        | ({} if points is None else {'keypoints': np.ravel(points).tolist()})
        for index, (box, points) in enumerate(zip(boxes, keypoints, strict=True))
    ]
    y, x = np.mgrid[: shape[0], : shape[1]]
    return LoadLandmarkAnnotations(**load)(
        {
            'img': np.stack([x, y, np.full(shape, 7)], axis=-1).astype(np.uint8),
            'img_path': 'a.jpg',
            'img_id': 1,
            'img_shape': shape,
            'ori_shape': shape,
            'height': shape[0],
            'width': shape[1],
            'instances': instances,
        }
    )
