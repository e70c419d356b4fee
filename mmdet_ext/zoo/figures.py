"""What was measured, in the words of a metafile."""

from collections.abc import Mapping
from typing import Any

# Metric of an evaluator: task, name in the zoo. All are shares of 1.
NAMES = {
    'coco/bbox_mAP': ('Object Detection', 'box AP'),
    'coco/bbox_mAP_50': ('Object Detection', 'box AP50'),
    'coco/bbox_mAP_75': ('Object Detection', 'box AP75'),
    'coco/segm_mAP': ('Instance Segmentation', 'mask AP'),
    'coco/segm_mAP_50': ('Instance Segmentation', 'mask AP50'),
    'wider_face/easy_AP': ('Face Detection', 'easy AP'),
    'wider_face/medium_AP': ('Face Detection', 'medium AP'),
    'wider_face/hard_AP': ('Face Detection', 'hard AP'),
    'landmark/nme': ('Face Alignment', 'NME'),
    'landmark/found': ('Face Alignment', 'faces found'),
}


def format_results(metrics: Mapping[str, float], dataset: str) -> list[dict[str, Any]]:
    """`Results` of an entry, in percent.

    Args:
        metrics: As evaluators call them; what has no name in the zoo is left out, as is -1, which is no value.
        dataset: Name of the data.

    Raises:
        ValueError: None of them has a name there.
    """
    tasks: dict[str, dict[str, float]] = {}
    for metric, (task, name) in NAMES.items():
        if (value := metrics.get(metric)) is not None and value != -1:
            tasks.setdefault(task, {})[name] = round(100 * float(value), 1)
    if not tasks:
        known = ', '.join(NAMES)
        raise ValueError(f'the evaluator gave {", ".join(metrics) or "nothing"}, none of which is one of {known}.')
    return [{'Task': task, 'Dataset': dataset, 'Metrics': found} for task, found in tasks.items()]


def describe_training(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """What `Metadata` tells of a training.

    Args:
        name: Of the entry.
        result: `record` of `RunRecordHook`, `cost` of `measure_cost`.
    """
    record, cost = result['record'], result['cost']
    ranks, step = record['world_size'], record['step_seconds']
    threads = ranks * record['threads']
    cores = f'{threads} CPU thread{"s" if threads > 1 else ""}'
    return {
        'Parameters': cost['parameters'],
        # Without loading, validating and starting; one step stands for all, for a training may have been interrupted.
        **({} if step is None else {'Training Time (min)': round(record['iterations'] * step / 60, 1)}),
        'Training Memory (GB)': round(record['peak_memory_mb'] / 1024, 2),
        'Training Resources': cores if record['device'] == 'cpu' else f'{ranks}x {record["device"]}',
        'Seed': record['seed'],
        'Command': f'python tools/zoo.py --only {name}',
        **({} if record['commit'] is None else {'Commit': record['commit']}),
        'Versions': ', '.join(f'{package} {number}' for package, number in record['versions'].items()),
    }
