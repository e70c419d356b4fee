from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch

from mmdet_ext.deployment.detector import DeployedDetector, Detections
from mmdet_ext.deployment.onnx_file import EXAMPLE_BATCH, describe, example_inputs, export_onnx, read_metadata, trace
from mmdet_ext.deployment.parity import onnx_feed, run_onnx, verify
from mmdet_ext.deployment.support import detector_inputs

from .export_case import CLASSES, PARTS, RELATIONS, assert_same, build, one_stage, picture, sample, two_stage

# One process makes what the tests of this file share.
pytestmark = pytest.mark.xdist_group('onnx_file')

STANDARD = {'', 'ai.onnx'}
SIZE = (70, 90)


def session_of(file: Path) -> Any:
    return onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])


@pytest.fixture(scope='module')
def relation_model() -> Any:
    return build(two_stage(RELATIONS))


@pytest.fixture(scope='module')
def relation_file(relation_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp('onnx') / 'folder' / 'relation.onnx'
    export_onnx(relation_model, file, CLASSES, SIZE, static=True, facts=dict(config='c.py'))
    return file


@pytest.fixture(scope='module')
def face_model() -> Any:
    return build(one_stage('RetinaFaceHead'))


@pytest.fixture(scope='module')
def face_file(face_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp('onnx') / 'face.onnx'
    export_onnx(face_model, file, CLASSES, SIZE, opset=20)
    return file


def pair(**options: Any) -> list[dict[str, Any]]:
    return [sample(picture(seed=seed), seed=seed, **options) for seed in (0, 1)]


def run(file: Path, batch: list[dict[str, Any]], part_names: tuple[str, ...] = ()) -> Any:
    feeds = [onnx_feed(data, part_names) for data in batch]
    return run_onnx(
        session_of(file), {name: torch.cat([torch.from_numpy(f[name]) for f in feeds]).numpy() for name in feeds[0]}
    )


def test_relations_and_parts_in_onnxruntime(relation_model: Any, relation_file: Path) -> None:
    """Two images with another number of proposals each, the second without one part."""
    batch = pair(parts=True)
    found = run(relation_file, batch, PARTS[::-1])
    for data, own in zip(batch, found, strict=True):
        assert_same(relation_model, data, own)


def test_parts_matter(relation_file: Path) -> None:
    batch = pair(parts=True)
    feed = onnx_feed(batch[0], PARTS[::-1])
    double = {name: torch.cat([torch.from_numpy(x)] * 2).numpy() for name, x in feed.items()}
    before = run_onnx(session_of(relation_file), double)[0]
    double['part_boxes'] = double['part_boxes'] + 9
    after = run_onnx(session_of(relation_file), double)[0]
    assert abs(before.scores[: len(after)] - after.scores[: len(before)]).max() > 1e-3


def test_only_standard_operators(relation_file: Path, face_file: Path) -> None:
    for file in (relation_file, face_file):
        graph = onnx.load(file)
        onnx.checker.check_model(graph)
        assert {node.domain for node in graph.graph.node} <= STANDARD
        kinds = [node.op_type for node in graph.graph.node]
        assert kinds.count('NonMaxSuppression') == (2 if file == relation_file else 1)
    assert {opset.domain: opset.version for opset in onnx.load(face_file).opset_import}[''] == 20


def test_inputs_outputs_and_metadata(relation_file: Path) -> None:
    session = session_of(relation_file)
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert inputs == {
        'images': ('tensor(uint8)', [2, 3, 70, 90]),
        'part_boxes': ('tensor(float)', [2, 2, 4]),
        'part_valid': ('tensor(bool)', [2, 2]),
    }
    assert [(value.name, value.shape[0]) for value in session.get_outputs()] == [
        (name, 'detections') for name in ('boxes', 'scores', 'labels', 'image')
    ]
    stored = read_metadata(session.get_modelmeta().custom_metadata_map)
    assert stored['classes'] == CLASSES
    assert (stored['mean'], stored['std']) == ([110, 120, 130], [50, 60, 70])
    assert (stored['score_thr'], stored['max_per_img'], stored['iou_threshold']) == (0.2, 15, 0.5)
    assert (stored['part_names'], stored['input_size'], stored['config']) == (list(PARTS[::-1]), list(SIZE), 'c.py')
    assert (stored['swaps_channels'], stored['pad_size_divisor'], stored['num_keypoints']) == (True, 32, 0)


@pytest.mark.parametrize('number', [1, 3])
def test_landmarks_in_batches_of_any_size(number: int, face_model: Any, face_file: Path) -> None:
    batch = [sample(picture(seed=seed)) for seed in range(number)]
    for data, own in zip(batch, run(face_file, batch), strict=True):
        assert own.keypoints.shape[1:] == (5, 2)
        assert_same(face_model, data, own)
    session = session_of(face_file)
    assert session.get_inputs()[0].shape == ['batch', 3, 70, 90]
    assert [value.shape for value in session.get_outputs()][-1] == ['detections', 5, 2]


def test_photographs(face_model: Any, face_file: Path, real_data: Any) -> None:
    folder = real_data('bccd') / 'BCCD' / 'JPEGImages'
    resize = dict(type='Resize', scale=SIZE[::-1], keep_ratio=False)
    pack = dict(type='PackDetInputs', meta_keys=('img_shape', 'scale_factor'))
    pipeline = [dict(type='LoadImageFromFile'), resize, pack]
    results = verify(session_of(face_file), face_model, pipeline, sorted(folder.glob('*.jpg'))[:4])
    assert [(result.matched, result.unmatched) for result in results] == [(15, 0)] * 4


def test_nothing_found(face_file: Path) -> None:
    empty = run(face_file, [sample(picture() * 0)])[0]
    assert empty.boxes.shape == (len(empty), 4)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['relation', 'YOLOIoUHead', 'SingleShotHead'])
def test_images_of_any_size(kind: str, tmp_path: Path) -> None:
    parts = kind == 'relation'
    model = build(two_stage(RELATIONS) if parts else one_stage(kind))
    export_onnx(model, tmp_path / 'any.onnx', CLASSES)
    session = session_of(tmp_path / 'any.onnx')
    assert session.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    for seed, size in enumerate([(70, 90), (160, 64), (33, 97)]):
        data = sample(picture(*size, seed=seed), parts=parts)
        (own,) = run_onnx(session, onnx_feed(data, PARTS[::-1] if parts else ()))
        assert_same(model, data, own)


def test_exported_program_finds_the_same(face_model: Any) -> None:
    detector = DeployedDetector(face_model)
    program = trace(detector, SIZE).module()
    for number in (1, 3):
        batch = [sample(picture(seed=seed)) for seed in range(number)]
        found = program(torch.cat([detector_inputs(data, ())[0] for data in batch]))
        for i, data in enumerate(batch):
            assert_same(face_model, data, Detections(*(x[i : i + 1] for x in found)))


def test_compiled_in_one_graph(relation_model: Any) -> None:
    """`fullgraph=True`: nothing of it falls back to Python. The back end of the tests compiles nothing."""
    detector = DeployedDetector(relation_model)
    compiled = torch.compile(detector, fullgraph=True, backend='aot_eager')
    data = sample(picture(), parts=True)
    with torch.no_grad():
        assert_same(relation_model, data, compiled(*detector_inputs(data, detector.part_names)))


def test_model_stays_as_it_was(relation_model: Any) -> None:
    assert not any(parameter.requires_grad for parameter in relation_model.parameters())
    assert not relation_model.training


def test_example_inputs() -> None:
    images, boxes, valid = example_inputs(DeployedDetector(build(two_stage(RELATIONS))), (40, 60))
    assert (images.shape, images.dtype) == ((EXAMPLE_BATCH, 3, 40, 60), torch.uint8)
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    assert valid.all()


def test_description_of_a_detector_that_does_not_normalize() -> None:
    cfg = one_stage()
    cfg.data_preprocessor = dict(type='DetDataPreprocessor')
    facts = describe(DeployedDetector(build(cfg)), CLASSES, more=1)
    assert (facts['mean'], facts['std'], facts['pad_size_divisor'], facts['more']) == (None, None, 1, 1)


@pytest.mark.parametrize('size', [(0, 9), (9,), (9, 9, 9)])
def test_impossible_size(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='the size must be a height and a width in pixels'):
        trace(DeployedDetector(build(one_stage())), size)


def test_static_needs_a_size() -> None:
    with pytest.raises(ValueError, match='a static export needs the size of the images'):
        trace(DeployedDetector(build(one_stage())), static=True)


def test_size_that_cannot_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = DeployedDetector(build(one_stage()))
    monkeypatch.setattr(DeployedDetector, 'forward', lambda self, images: images[:, 0] * (images.shape[2] == 288))
    with pytest.raises(ValueError, match=r'give the size \(--size H W\)'):
        trace(detector)


def test_refused_detector(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='cannot be exported; what exports are'):
        export_onnx(torch.nn.Linear(1, 1), tmp_path / 'a.onnx', CLASSES)
    assert not list(tmp_path.iterdir())
