"""Table and picture of a sweep over stored predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..figures import new_figure, plain_axes, save_figure
from ..report import format_number
from ..tables import markdown_table, write_csv

# A setting this near to the best one may be worth it for its size.
_NEAR = 0.001


def write_sweep(result: Mapping[str, Any], folder: str | Path) -> str:
    """Write `sweep.md`, `sweep.csv` and `sweep.png`.

    Args:
        result: See `run_sweep`.
        folder: Made if it is not there.

    Returns:
        The Markdown.
    """
    folder = Path(folder)
    names = result['metrics']
    head = ['nms_iou', 'score_thr', 'top_k', *names, 'detections', 'most', 'bytes']
    cells = [
        [row['nms_iou'], row['score_thr'], row['top_k'], *row['metrics'].values(), *(row[key] for key in head[-3:])]
        for row in result['rows']
    ]
    write_csv(folder / 'sweep.csv', head, cells)
    plot_sweep(result, folder / 'sweep.png')
    text = format_sweep(result)
    (folder / 'sweep.md').write_text(text, encoding='utf-8')
    return text


def format_sweep(result: Mapping[str, Any]) -> str:
    """A row for each setting, sorted by NMS, threshold and top-k, the best of each metric bold; then the sentences.

    Args:
        result: See `run_sweep`.
    """
    rows, names = result['rows'], result['metrics']
    with_nms = rows[0]['nms_iou'] is not None
    table = []
    for number, row in enumerate(rows):
        values = [
            f'**{format_number(value)}**' if result['best'][name] == number else format_number(value)
            for name, value in row['metrics'].items()
        ]
        settings = [*([f'{row["nms_iou"]:g}'] if with_nms else []), f'{row["score_thr"]:g}', str(row['top_k'])]
        table.append([*settings, *values, f'{row["detections"]:.1f}', str(row['most']), format_bytes(row['bytes'])])
    head = [*(['NMS IoU'] if with_nms else []), 'score thr', 'top-k', *names, 'boxes per image', 'most', 'size']
    lines = [markdown_table(head, table), '', *(f'- {sentence}' for sentence in _best(rows, result['best']))]
    lines += [f'- {note}' for note in result['notes']]
    return '\n'.join(lines) + '\n'


def _best(rows: Sequence[Mapping[str, Any]], best: Mapping[str, int | None]) -> list[str]:
    """The best row of each metric, and the smallest result that comes near it."""
    sentences = []
    for name, number in best.items():
        if number is None:
            sentences.append(f'{name}: no value, there is nothing to find.')
            continue
        top = rows[number]['metrics'][name]
        near = min(
            (row for row in rows if (value := row['metrics'][name]) is not None and value >= top - _NEAR - 1e-9),
            key=lambda row: row['bytes'],
        )
        sentence = (
            f'Best {name}: {format_number(top)} at {_describe(rows[number])}, {format_bytes(rows[number]["bytes"])}'
        )
        if near is not rows[number]:
            sentence += (
                f'; {format_number(near["metrics"][name])} takes {format_bytes(near["bytes"])} at {_describe(near)}'
            )
        sentences.append(f'{sentence}.')
    return sentences


def _describe(row: Mapping[str, Any]) -> str:
    nms = '' if row['nms_iou'] is None else f', NMS IoU {row["nms_iou"]:g}'
    return f'score threshold {row["score_thr"]:g}, top-k {row["top_k"]}{nms}'


def format_bytes(number: float) -> str:
    """`'812 B'`, `'3.4 kB'`, `'1.2 MB'`; a kB has 1000 bytes."""
    for unit in ('B', 'kB', 'MB'):
        if number < 1000:
            return f'{number:.0f} {unit}' if unit == 'B' else f'{number:.1f} {unit}'
        number /= 1000
    return f'{number:.1f} GB'


def plot_sweep(result: Mapping[str, Any], out: str | Path) -> Path:
    """Draw the first metric, boxes per image and result size over the score threshold, a line for each other setting.

    Args:
        result: See `run_sweep`.
        out: Picture file. Missing folders are made.

    Returns:
        The path written.
    """
    rows = result['rows']
    name = result['metrics'][0]
    thrs = list(dict.fromkeys(row['score_thr'] for row in rows))
    lines: dict[tuple[float | None, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row['nms_iou'], row['top_k']), []).append(row)
    figure = new_figure(13, 4)
    panels = figure.subplots(1, 3)
    for axes, title in zip(panels, (name, 'boxes per image', 'size of the result in bytes'), strict=True):
        plain_axes(axes, title)
        # The thresholds as they were asked for: 0 has no logarithm.
        axes.set_xticks(range(len(thrs)), [f'{thr:g}' for thr in thrs])
        axes.set_xlabel('score threshold')
    for (iou, top_k), group in lines.items():
        label = f'top-k {top_k}' + ('' if iou is None else f', NMS {iou:g}')
        values = [row['metrics'][name] for row in group]
        numbers = [float('nan') if value is None else value for value in values]
        for axes, heights in zip(
            panels, (numbers, [row['detections'] for row in group], [row['bytes'] for row in group]), strict=True
        ):
            axes.plot(range(len(thrs)), heights, 'o-', markersize=4, linewidth=1.4, label=label)
    best = result['best'][name]
    if best is not None:
        row = rows[best]
        panels[0].plot(thrs.index(row['score_thr']), row['metrics'][name], 'o', color='none', markeredgecolor='#222222',
                       markersize=12)  # fmt: skip
    for axes in panels[1:]:
        axes.set_ylim(bottom=0)
    figure.legend(*panels[0].get_legend_handles_labels(), loc='outside right upper', fontsize=8, frameon=False)
    return save_figure(figure, out)
