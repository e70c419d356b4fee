"""Screening from files to files, and back again."""

import csv
import json
import random

import pytest

from mmdet_ext.analysis.screening.rules import Limits
from mmdet_ext.analysis.screening.screen import LIST, compare_lists, screen_images, undo_screening
from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.screened_list import listed_image, read_screened_list, write_screened_list
from tests.test_analysis.test_screening.screening_case import row, write_annotations, write_rows


@pytest.fixture
def screen(tmp_path):
    """Screen the case; gives the result and what was said."""

    def call(limits=None, rows=None, changes=None, **options):
        ann_file = write_annotations(tmp_path, **(changes or {}))
        said = []
        result = screen_images(
            ann_file, write_rows(tmp_path, rows), tmp_path / 'out', limits, say=said.append, **options
        )  # fmt: skip
        return result, '\n'.join(said)

    return call


def ids(result):
    return [item['image_id'] for item in result['images']]


def test_files_and_reasons(screen, tmp_path):
    before = write_annotations(tmp_path).read_text()
    rows = [row(k) for k in range(1, 11)]
    rows[3] = row(4, min_side=2, n_pos=0)
    result, said = screen(rows=rows)
    assert (tmp_path / 'train.json').read_text() == before
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {LIST, 'train_screened.json', 'screening.csv'}
    # 4 by two rules, then 10 whose loss 1.0 is above 0.91, the quantile of 0.1 to 1.
    assert ids(result) == [4, 10]
    assert [reason.split(':')[0] for reason in result['images'][0]['reasons']] == ['unmatched', 'tiny']
    assert result['images'][1]['reasons'] == ['loss: loss 1 is above 0.91, the quantile 0.9 of all']
    assert result['number'] == {'images': 10, 'measured': 10, 'dropped': 2}
    left = json.loads((tmp_path / 'out/train_screened.json').read_text())
    assert [image['id'] for image in left['images']] == [1, 2, 3, 5, 6, 7, 8, 9]
    assert {item['image_id'] for item in left['annotations']} == {1, 2, 3, 5, 6, 7, 8, 9}
    assert left['info'] == {'x': 1}
    assert check_coco(tmp_path / 'out/train_screened.json', ('a', 'b')) == []
    stored = read_screened_list(tmp_path / 'out' / LIST)
    assert stored['images'] == result['images']
    assert stored['limits']['loss'] == pytest.approx(0.91)
    assert '2 of 10 images are left out' in said
    assert [cell.strip() for line in said.splitlines() if '| tiny' in line for cell in line.split('|')[1:4]] == [
        'tiny',
        '1',
        '0',
    ]


def test_the_ranking_has_every_image(screen, tmp_path):
    screen(rows=[row(1), row(2, loss=0.1, min_side=1), row(3, loss='nan'), row(4, loss=0.05, min_side=1, n_pos=0)])
    with (tmp_path / 'out/screening.csv').open() as file:
        table = list(csv.reader(file))
    assert table[0] == ['rank', 'image_id', 'file_name', 'loss', 'dropped', 'reason', 'reason']
    assert [line[1] for line in table[1:]][:4] == ['4', '3', '2', '1']
    assert [line[4] for line in table[1:]][:5] == ['yes', 'yes', 'yes', 'no', 'no']
    assert len(table) == 11
    assert table[2][3] == ''  # nan is no JSON and no number


def test_images_without_a_row_are_judged_by_their_annotations(screen):
    result, said = screen(rows=[row(1)], changes={'a20': {'bbox': [0, 0, 0, 0]}})
    assert ids(result) == [10]
    assert '9 images have no row' in said
    assert result['images'][0]['loss'] is None


def test_nothing_is_dropped(screen, tmp_path):
    result, _ = screen(Limits(('tiny',)))
    assert result['images'] == []
    left, whole = (
        json.loads(path.read_text()) for path in (tmp_path / 'out/train_screened.json', tmp_path / 'train.json')
    )
    assert left == whole


@pytest.mark.parametrize('shuffled', [False, True])
def test_undo_gives_the_file_as_it_was(screen, tmp_path, shuffled):
    """Annotations need not stand in the order of their images."""
    if shuffled:
        path = write_annotations(tmp_path)
        coco = json.loads(path.read_text())
        random.shuffle(coco['annotations'])
        random.shuffle(coco['images'])
        path.write_text(json.dumps(coco))
        screen_images(path, write_rows(tmp_path), tmp_path / 'out', Limits(loss_quantile=0.55), say=lambda _: None)
    else:
        screen(Limits(loss_quantile=0.55))
    assert len(read_screened_list(tmp_path / 'out' / LIST)['images']) == 5
    wanted = (tmp_path / 'train.json').read_text()
    (tmp_path / 'train.json').unlink()
    restored = undo_screening(tmp_path / 'out' / LIST)
    assert restored == tmp_path / 'out/train_restored.json'
    assert list(json.loads(restored.read_text()).items()) == list(json.loads(wanted).items())
    other = undo_screening(tmp_path / 'out' / LIST, tmp_path / 'new/here.json')
    assert other.read_text() == restored.read_text()


def test_undo_refuses_what_it_cannot_put_back(screen, tmp_path):
    screen()
    (filtered := tmp_path / 'out/train_screened.json').write_text('{}')
    with pytest.raises(ValueError, match='was changed after the screening'):
        undo_screening(tmp_path / 'out' / LIST)
    filtered.unlink()
    with pytest.raises(FileNotFoundError, match=r'no .*train_screened\.json'):
        undo_screening(tmp_path / 'out' / LIST)
    other = write_screened_list(tmp_path / 'control.json', [])
    with pytest.raises(ValueError, match='no list of a screening'):
        undo_screening(other)
    with pytest.raises(FileNotFoundError, match='no list of screened images'):
        undo_screening(tmp_path / 'gone.json')


def test_a_control_of_as_many_images_by_chance(screen, tmp_path):
    drawn = []
    for seed in (0, 0, 1):
        screen(Limits(loss_quantile=0.7), control=seed)
        images = read_screened_list(tmp_path / 'out/control.json')['images']
        assert len({item['image_id'] for item in images}) == 3
        assert all(item['file_name'] == f'{item["image_id"]}.png' for item in images)
        drawn.append(images)
    assert drawn[0] == drawn[1] != drawn[2]


def truth(tmp_path, kinds):
    entries = [listed_image({'id': key, 'file_name': f'{key}.png'}, [kind]) for key, kind in kinds.items()]
    return write_screened_list(tmp_path / 'planted.json', entries)


def test_how_many_of_the_bad_images_are_found(screen, tmp_path):
    bad = truth(tmp_path, {1: 'planted: box', 9: 'planted: box', 10: 'planted: label'})
    result, said = screen(Limits(('loss',), 0.7), truth=bad)
    assert ids(result) == [10, 9, 8]
    assert result['against'] == {
        'bad': 3, 'dropped': 3, 'found': 2, 'precision': pytest.approx(2 / 3), 'recall': pytest.approx(2 / 3),
        'chance': 0.3, 'kinds': {'planted: box': 0.5, 'planted: label': 1.0},
    }  # fmt: skip
    assert (
        'Of 3 bad images 2 are found (67%; planted: box 50%, planted: label 100%); 67% of the dropped are bad' in said
    )
    nothing, said = screen(Limits(('tiny',)), truth=bad)
    assert (nothing['against']['precision'], nothing['against']['recall']) == (None, 0)
    assert 'none dropped' in said


def test_a_truth_of_other_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match='images that the annotation file lacks, such as id 12'):
        compare_lists([1, 2], [], truth(tmp_path, {1: 'x', 12: 'x'}))
    with pytest.raises(ValueError, match='is empty'):
        compare_lists([1, 2], [], truth(tmp_path, {}))


def test_too_many_images_are_not_dropped(screen, tmp_path):
    rows = [row(k, min_side=1) for k in range(1, 11)]
    with pytest.raises(ValueError, match=r'would drop 10 of 10 images, more than the share 0\.5'):
        screen(rows=rows)
    assert not (tmp_path / 'out').exists()
    result, _ = screen(rows=rows, max_share=1)
    assert len(result['images']) == 10
    with pytest.raises(ValueError, match='--max-share must be above 0'):
        screen(max_share=0)


def test_a_rule_without_its_column(screen):
    with pytest.raises(
        ValueError, match="no column 'loss_clss', which the rule 'loss' reads; the nearest is 'loss_cls'"
    ):
        screen(Limits(loss_column='loss_clss'))
