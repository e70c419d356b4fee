from typing import Any

from mmdet_ext.deployment.support_table import format_support

GOOD = dict(works=True, why='', box_error=2.4e-4, score_error=3.1e-6, matched=30, total=31, seconds=9.0)
BAD = {**GOOD, 'works': False, 'why': 'FCOS with FCOSHead cannot be exported; what exports are one-stage detectors'}
NOTED = {**GOOD, 'why': 'only with --size'}


def rows(**trials: Any) -> dict[str, Any]:
    row = dict(config='configs/a/b.py', detector='A / B', size=[9, 9], **{'onnx': GOOD, 'torch.export': GOOD, **trials})
    return dict(rows=[row, {**row, 'config': 'mmdet::x.py'}], versions=dict(torch='2.13.0', onnxruntime='1.2'))


def test_table() -> None:
    lines = format_support(rows()).splitlines()
    assert lines[0] == '| config | detector | onnx | torch.export | torch.compile |'
    assert lines[1] == '|---|---|---|---|---|'
    yes = 'yes: 30 of 31, 2e-04 px, 3e-06'
    assert lines[2] == f'| `a/b.py` | A / B | {yes} | {yes} | not tried |'
    assert lines[3].startswith('| `mmdet::x.py` |')
    assert lines[4:] == ['', 'Measured with torch 2.13.0, onnxruntime 1.2.']


def test_reasons_stand_below_once() -> None:
    text = format_support(rows(onnx=BAD, **{'torch.compile': NOTED}))
    assert text.count('| no [1] |') == 2
    assert text.count('yes [2]: 30 of 31') == 2
    assert '\n[1] FCOS with FCOSHead cannot be exported.  \n[2] only with --size.' in text
