import pytest
from PIL import Image

from mmdet_ext.datasets.voc_checks import check_voc

XML = (
    '<annotation><size><width>40</width><height>30</height></size><object><name>{name}</name><bndbox><xmin>{x1}</xmin>'
    '<ymin>1</ymin><xmax>{x2}</xmax><ymax>30</ymax></bndbox></object></annotation>'
)


@pytest.fixture
def root(tmp_path):
    for folder in ('Annotations', 'JPEGImages'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'train.txt').write_text('a\nb\n')
    for image_id, name in (('a', 'nodule'), ('b', 'mass')):
        Image.new('RGB', (40, 30)).save(tmp_path / f'JPEGImages/{image_id}.jpg')
        put(tmp_path, XML.format(name=name, x1=1, x2=40), image_id)
    return tmp_path


def put(root, text, image_id='a'):
    (root / f'Annotations/{image_id}.xml').write_text(text)


def check(root, classes=('nodule', 'mass')):
    return [(p.severity, str(p)) for p in check_voc(str(root / 'train.txt'), str(root), classes)]


def test_good_set(root):
    assert check(root) == []
    assert check(root, None) == []


def test_image_set_file(root):
    (root / 'train.txt').write_bytes(b'\xff')
    assert 'no readable list' in check(root)[0][1]
    (root / 'train.txt').write_text('')
    assert 'is empty' in check(root)[0][1]
    (root / 'train.txt').unlink()
    assert 'does not exist' in check(root)[0][1]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('<annotation>', 'are not valid XML'),
        ('<annotation><object><name>mass</name></object></annotation>', 'an object without `bndbox`'),
        (XML.format(name='', x1=1, x2=2), '`object` without `name`'),
        (XML.format(name='mass', x1='one', x2=2), "`xmin` is 'one' instead of a number"),
    ],
)
def test_damaged_xml(root, text, words):
    put(root, text)
    severity, sentence = check(root, None)[0]
    assert severity == 'error'
    assert words in sentence
    assert 'a.xml' in sentence


def test_missing_xml_and_image(root):
    (root / 'Annotations/b.xml').unlink()
    (root / 'JPEGImages/a.jpg').unlink()
    text = '\n'.join(sentence for _, sentence in check(root, None))
    assert '1 of 2 XML files do not exist' in text
    assert '1 of 1 images do not exist' in text


def test_size_may_be_left_out(root):
    put(root, '<annotation></annotation>')
    assert check(root, ('mass',)) == []


@pytest.mark.parametrize(
    ('x1', 'x2', 'words'), [(9, 5, 'negative'), (9, 9, 'zero'), (50, 60, 'outside'), (5, 43, 'beyond')]
)
def test_bad_boxes(root, x1, x2, words):
    put(root, XML.format(name='nodule', x1=x1, x2=x2))
    ((severity, sentence),) = check(root)
    assert severity == 'error'
    assert words in sentence
    assert "first files 'a.xml'" in sentence


def test_names(root):
    ((severity, sentence),) = check(root, ('nodul', 'mass'))
    assert severity == 'error'
    assert "no object is called 'nodul' (nearest: 'nodule')" in sentence
    ((severity, sentence),) = check(root, ('mass', 'never seen here'))
    assert severity == 'warning'
    assert "objects are called 'nodule'" in sentence
    assert [severity for severity, _ in check(root, ('xyz',))] == ['warning', 'error']


def test_real_data_is_good(real_data):
    root = real_data('bccd') / 'BCCD'
    for split in ('train', 'val', 'test'):
        problems = check_voc(str(root / f'ImageSets/Main/{split}.txt'), str(root), ('RBC', 'WBC', 'Platelets'))
        assert [str(p) for p in problems if p.severity == 'error'] == []
