"""The whole diagnosis: what it writes, that it goes on where it was stopped, and that every kind of detector works."""

import csv
import json

import pytest

from mmdet_ext.analysis.diagnosis import diagnose
from mmdet_ext.analysis.diagnosis.diagnose import run_diagnosis
from tests.test_analysis.html_page import Page
from tests.test_analysis.test_diagnosis import detector_case as case


def quick(family, out, **options):
    given = {'num': 2, 'trial_images': 1, 'pictures': False, 'progress': False} | options
    return run_diagnosis(*case.files(family), out, **given)


def test_everything_is_written(tmp_path, capsys):
    summary = quick('faster', tmp_path, worst=2, pictures=True, command='python diagnose.py a b')
    stored = json.loads((tmp_path / 'summary.json').read_text())
    assert stored == summary
    assert {'rule', 'evidence', 'cause', 'fix', 'gain', 'explained_by'} == set(stored['verdicts'][0]) - {'certainty'}
    with (tmp_path / 'per_image.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['split'] for row in rows] == ['train'] * 2 + ['val'] * 2
    page = Page((tmp_path / 'report.html').read_text())
    assert len(page.sources) >= 9
    assert all(source.startswith('data:image/png;base64,') for source in page.sources), 'nothing beside the page'
    first = summary['verdicts'][0]
    for words in (first['cause'], first['fix'], 'channels in reverse order', 'Is everything an object?', 'Self-checks',
                  'python diagnose.py a b', 'loss_rpn_cls', 'Class-agnostic AP', 'The worst images'):  # fmt: skip
        assert ' '.join(words.split()) in ' '.join(page.words.split())
    names = {path.name for path in (tmp_path / 'pictures').iterdir()}
    assert {'scores.png', 'proposals.png', 'anchor_coverage.png', 'anchors.png', 'errors.png', 'losses.png'} <= names
    assert sum(name.endswith('_matching.png') for name in names) == 2
    said = capsys.readouterr().out
    assert 'Looked at 2 images of train, 2 images of val' in said
    assert f'1. {first["rule"]} (up to' in said


@pytest.mark.parametrize('family', ['mask', 'cascade', 'ssd', 'yolo_iou', 'retina_face'])
def test_detectors_with_anchors(family, tmp_path):
    summary = quick(family, tmp_path, pictures=family == 'cascade', worst=1)
    heads = {'mask': ['rpn_head', 'roi_head'], 'cascade': ['rpn_head', *(f'roi_head.{n}' for n in range(3))]}
    assert list(summary['heads']) == heads.get(family, ['bbox_head'])
    assert summary['splits']['val']['losses']['total']['mean'] > 0
    assert summary['gradients']
    assert [sentence.split(':')[0] for sentence in summary['limits']] == ['what test settings and errors cost']
    assert 'val has 2 objects here, and below 20' in summary['limits'][0]


@pytest.mark.parametrize('family', ['fcos', 'detr', 'rpn'])
def test_others_get_what_applies_and_a_sentence(family, tmp_path, capsys):
    summary = quick(family, tmp_path, pictures=True, worst=1)
    assert summary['splits']['train']['losses']
    assert 'Nothing is wrong' not in capsys.readouterr().out or family == 'rpn'
    if family != 'rpn':
        assert summary['heads'] == {}
        assert any('is not shown' in sentence for sentence in summary['limits'])


def test_a_second_call_reads_what_is_there(tmp_path, monkeypatch):
    first = quick('retina', tmp_path, splits=['val'])
    examined = []
    examine = diagnose.DiagnosedDetector.examine
    monkeypatch.setattr(
        diagnose.DiagnosedDetector, 'examine', lambda self, *place: examined.append(place) or examine(self, *place)
    )
    second = quick('retina', tmp_path, splits=['val'])
    assert examined == []
    assert second['splits'] == first['splits']
    quick('retina', tmp_path, splits=['val'], num=3)
    assert len(examined) == 1


def test_an_interruption_says_what_is_kept(tmp_path, monkeypatch, capsys):
    def stop(detector, store, split, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(diagnose, 'collect', stop)
    with pytest.raises(KeyboardInterrupt):
        quick('retina', tmp_path)
    assert 'the same command goes on from there' in capsys.readouterr().out


def test_the_folder_follows_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick('retina', None, splits=['val'], num=1, trial_images=0)
    assert (tmp_path / 'work_dirs' / 'diagnosis' / 'retina' / 'summary.json').is_file()


def test_training_images_alone(tmp_path):
    summary = quick('retina', tmp_path, splits=['train'], num=1, trial_images=0)
    assert (summary['judged_split'], list(summary['splits'])) == ('train', ['train'])
    assert summary['trials'] == {}


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'worst': -1}, '--worst -1'),
        ({'trial_images': -2}, '--trials -2'),
        ({'num': 0}, '--num 0'),
        ({'splits': ['vall']}, '--split vall'),
        ({'image_ids': ['nobody.png']}, 'nobody.png'),
    ],
)
def test_bad_options(options, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        quick('retina', tmp_path, **options)


def test_missing_files(tmp_path):
    config, checkpoint = case.files('retina')
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        run_diagnosis('none.py', checkpoint, tmp_path)
    with pytest.raises(FileNotFoundError, match=r'none\.pth'):
        run_diagnosis(config, 'none.pth', tmp_path)


def test_a_checkpoint_of_another_model(tmp_path):
    with pytest.raises(ValueError, match='ssd'):
        run_diagnosis(case.files('retina')[0], case.files('ssd')[1], tmp_path)


def test_records_of_another_run(tmp_path):
    quick('retina', tmp_path, splits=['val'], num=1, trial_images=0)
    with pytest.raises(ValueError, match='has the records of another run'):
        quick('ssd', tmp_path, splits=['val'], num=1, trial_images=0)


def test_further_splits_and_images_go_on(tmp_path, monkeypatch):
    examined = []
    examine = diagnose.DiagnosedDetector.examine
    monkeypatch.setattr(
        diagnose.DiagnosedDetector, 'examine', lambda self, *place: examined.append(place) or examine(self, *place)
    )
    bare = {'trial_images': 0, 'num': 1}
    quick('retina', tmp_path, splits=['val'], **bare)
    quick('retina', tmp_path, splits=['train', 'val'], **bare)
    quick('retina', tmp_path, splits=['train'], **bare)
    assert examined == [('val', 0), ('train', 0)]


def test_pictures_of_images_that_are_gone(tmp_path):
    options = {'splits': ['val'], 'num': 1, 'worst': 1, 'trial_images': 0}
    quick('retina', tmp_path, **options)
    image = case.folder() / '0.png'
    image.rename(case.folder() / 'away')
    try:
        quick('retina', tmp_path, pictures=True, **options)
    finally:
        (case.folder() / 'away').rename(image)
    assert '0.png is missing or not readable' in Page((tmp_path / 'report.html').read_text()).words


def test_gradients_are_of_images_with_objects(tmp_path, monkeypatch):
    """Where there is nothing, boxes pull at nothing: that is no fault of the weights of losses."""
    asked = []
    measure = diagnose.measure_gradients
    monkeypatch.setattr(diagnose, 'measure_gradients', lambda *args: asked.append(args[1:]) or measure(*args))
    empty = quick('retina', tmp_path, splits=['val'], num=None, image_ids=['103'])
    assert empty['gradients'] == {}
    assert 'loss_balance' not in {verdict['rule'] for verdict in empty['verdicts']}
    quick('retina', tmp_path, num=None, image_ids=['103', '100'], trial_images=2)
    quick('retina', tmp_path, num=None, trial_images=0)
    assert asked == [('val', []), ('val', [0]), ('val', [])]
