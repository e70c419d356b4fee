"""Official .mat files in small: three images of two events."""

import numpy as np
from scipy.io import savemat

# EVENT, FILE, boxes x, y, w, h, and for easy, medium and hard the faces that count, from 1
IMAGES = (
    ('0--Parade', '0_Parade_1', [[10, 10, 40, 50], [100, 10, 20, 24], [200, 10, 8, 10]], [[1], [1, 2], [1, 2, 3]]),
    ('0--Parade', '0_Parade_2', [[5, 6, 7, 9]], [[], [], [1]]),
    ('1--Handshaking', '1_Handshaking_7', [[0, 0, 80, 90], [90, 90, 3, 4]], [[1], [1], [1]]),
)


def cells(values):
    """A column of Matlab cells."""
    column = np.empty((len(values), 1), object)
    for row, value in zip(column, values, strict=True):
        row[0] = value
    return column


def write_mats(folder):
    """The four files of the official tools; lists of indices are columns, empty ones 0 x 0."""
    folder.mkdir(parents=True, exist_ok=True)
    events = list(dict.fromkeys(image[0] for image in IMAGES))
    by_event = [[image for image in IMAGES if image[0] == event] for event in events]
    savemat(folder / 'wider_face_val.mat', {
        'event_list': cells(events), 'file_list': cells([cells([i[1] for i in some]) for some in by_event]),
        'face_bbx_list': cells([cells([np.array(i[2], float) for i in some]) for some in by_event]),
    })  # fmt: skip
    for k, setting in enumerate(('easy', 'medium', 'hard')):
        lists = [
            cells([np.array(i[3][k], np.uint8)[:, None] if i[3][k] else np.zeros((0, 0)) for i in some])
            for some in by_event
        ]
        savemat(folder / f'wider_{setting}_val.mat', {'gt_list': cells(lists)})
    return folder
