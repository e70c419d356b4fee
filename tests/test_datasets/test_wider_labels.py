"""Label files of WIDER FACE and RetinaFace, written by hand."""

import pytest

from mmdet_ext.datasets.wider_labels import WiderFace, WiderImage, read_wider_labels

POINTS = '5 6 0.0 9 6 0.0 7 8 0.0 5 10 1.0 -1.0 -1.0 -1.0'
KEYPOINTS = [5, 6, 2, 9, 6, 2, 7, 8, 2, 5, 10, 1, 0, 0, 0]
NONE = ' '.join(['-1.0'] * 15)
RETINAFACE = f"""# 0--Parade/a.jpg
4 5 8 9 {POINTS} 0.82
20 5 3 4 {NONE} 0.1

# 1--March/b.jpg
# 0--Parade/c d.jpg
1 2 3 4
0 0 0 5
"""
OFFICIAL = """0--Parade/a.jpg
2
4 5 8 9 0 0 0 0 0 0\x20
20 5 3 4 2 0 0 1 0 0\x20
1--March/b.jpg
0
0 0 0 0 0 0 0 0 0 0\x20
0--Parade/c.jpg
1
1 2 0 4 1 1 1 0 2 1\x20
"""


def read(tmp_path, text):
    path = tmp_path / 'label.txt'
    path.write_text(text)
    return read_wider_labels(path)


def test_retinaface(tmp_path):
    assert read(tmp_path, RETINAFACE) == [
        WiderImage('0--Parade/a.jpg', 1, [WiderFace((4, 5, 8, 9), KEYPOINTS), WiderFace((20, 5, 3, 4))]),
        WiderImage('1--March/b.jpg', 5),
        WiderImage('0--Parade/c d.jpg', 6, [WiderFace((1, 2, 3, 4)), WiderFace((0, 0, 0, 5))]),
    ]


def test_official(tmp_path):
    assert read(tmp_path, OFFICIAL) == [
        WiderImage('0--Parade/a.jpg', 1, [WiderFace((4, 5, 8, 9)), WiderFace((20, 5, 3, 4), invalid=True)]),
        WiderImage('1--March/b.jpg', 5),
        WiderImage('0--Parade/c.jpg', 8, [WiderFace((1, 2, 0, 4))]),
    ]


def test_an_image_without_faces_at_the_end_and_without_its_line_of_zeros(tmp_path):
    assert [image.faces for image in read(tmp_path, 'E/a.jpg\n0\nE/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n')] == [[], []]
    assert read(tmp_path, 'E/a.jpg\n0')[0].name == 'E/a.jpg'


def test_a_landmark_at_the_origin_is_labelled(tmp_path):
    (image,) = read(tmp_path, f'# a.jpg\n4 5 8 9 0 0 1 {" ".join(["-1"] * 12)} 0.8\n')
    assert image.faces[0].keypoints == [0, 0, 1, *[0] * 12]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('', r'label\.txt is empty; it must be a label file'),
        (' \n\n', 'is empty'),
        ('# a.jpg\n1 2 3\n', r'label\.txt, line 2: a face has 3 numbers, but 20 \(box, landmarks, blur\) or 4 \(box\)'),
        (f'# a.jpg\n1 2 3 4 {POINTS}\n', 'line 2: a face has 19 numbers'),
        (f'# a.jpg\n\n1 2 3 4 {POINTS} 0.5 7\n', 'line 3: a face has 21 numbers'),
        ('# a.jpg\n1 2 x 4\n', r"line 2: a face is a line of numbers, got '1 2 x 4'"),
        ('# a.jpg\n1 2 nan 4\n', 'line 2: a face is a line of numbers'),
        ('# a.jpg\n1 2 -3 4\n', 'line 2: a face has the negative size -3 x 4'),
        ('# a.jpg\n1 2 3 4\n#\n', 'line 3: there is no name of an image'),
        ('# a.jpg\n# b.jpg\n1 2 3 4\n# a.jpg\n', r'line 4: the image a\.jpg stands there already in line 1'),
        (f'# a.jpg\n1 2 3 4 5 6 -1 {NONE[:-15]} 0.5\n', 'line 2: the landmark 5 6 -1 is neither missing'),
        ('E/a.jpg\n1\n4 5 8 9 0 0 0\n', r'line 3: a face has 7 numbers, but 10 \(box and six flags\) are needed'),
        ('E/a.jpg\n4 5 8 9 0 0 0 0 0 0\n', r"line 1: 'E/a\.jpg' is followed by '4 5 8 9 .*', not by its number"),
        ('E/a.jpg\n', r"line 1: 'E/a\.jpg' is followed by ''"),
        ('E/a.jpg\n-1\n', 'not by its number of faces'),
        ('E/a.jpg\n2\n4 5 8 9 0 0 0 0 0 0\n', r'line 1: E/a\.jpg has 2 faces, but the file ends after 1'),
        ('E/a.jpg\n2\n4 5 8 9 0 0 0 0 0 0\nE/b.jpg\n', 'line 4: a face is a line of numbers'),
        ('E/a.jpg\n1\n4 5 8 -9 0 0 0 0 0 0\n', 'line 3: a face has the negative size 8 x -9'),
        ('E/a.jpg\n0\nE/a.jpg\n0\n', r'line 3: the image E/a\.jpg stands there already in line 1'),
    ],
)
def test_faults_are_told_with_their_line(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, text)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'label file .*none\.txt does not exist; correct `ann_file`'):
        read_wider_labels(tmp_path / 'none.txt')
