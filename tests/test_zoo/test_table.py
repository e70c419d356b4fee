"""The table of a family."""

from mmdet_ext.zoo.table import format_zoo
from tests.test_zoo.zoo_case import content, entry


def trained(name: str, place: str, metrics: dict, **about) -> dict:
    metadata = {'Training Data': 'tiny', 'Epochs': 1, **about}
    return entry(name, Metadata=metadata, Results=[{'Task': 't', 'Dataset': 'd', 'Metrics': metrics}], Weights=place)


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']


def test_nothing_is_trained():
    head, _, *rows = cells(format_zoo(content()))
    assert head == ['config', 'data', 'epochs', 'weights']
    assert rows == [
        ['[`tiny`](tiny.py)', 'tiny', '1', 'not trained yet: `make zoo`'], ['[`large`](large.py)', 'tiny', '1', 'none'],
    ]  # fmt: skip


def test_trained_ones_come_first_with_all_metrics():
    made = {'Training Time (min)': 5.0, 'Training Memory (GB)': 0.7, 'Training Resources': '1x 2 CPU threads'}
    models = [
        trained('a', 'work_dirs/zoo/a_1-2.pth', {'box AP': 45.0}, **made, Versions='x 1', Commit='c'),
        trained('b', 'https://there/b_1-2.pth', {'mask AP': 3.04}, **made, Versions='x 2'),
    ]
    text = format_zoo(content(Models=models))
    head, _, *rows = cells(text)
    assert head == ['config', 'data', 'epochs', 'box AP', 'mask AP', 'training', 'weights']
    assert rows[0] == ['[`a`](a.py)', 'tiny', '1', '45.0', '', '5 min, 0.7 GB', '`a_1-2.pth`']
    assert rows[1][3:] == ['', '3.0', '5 min, 0.7 GB', '[b_1-2.pth](https://there/b_1-2.pth)']
    assert [row[0] for row in rows[2:]] == ['[`tiny`](tiny.py)', '[`large`](large.py)']
    assert '- 1x 2 CPU threads; x 1; c (`a`)' in text
    assert '- 1x 2 CPU threads; x 2 (`b`)' in text
    assert 'in percent' in text


def test_what_was_made_alike_is_said_once():
    models = [trained(name, f'{name}.pth', {'box AP': 1.0}, Versions='x 1') for name in 'ab']
    text = format_zoo(content(Models=models, Untrained=[]))
    assert text.endswith('\n\n- x 1\n')
    assert format_zoo({'Collections': [], 'Models': models}) == text
