"""The table of rules: what the diagnosis looks for, how sure each rule is of its cause, and from which number on."""

from . import rules_data, rules_errors, rules_heads, rules_input, rules_training
from .rules_errors import ERROR_TYPES, costly_setting, error_type
from .verdict import Rule

_TRIAL = {'fall': 0.3}
"""A trial has helped if it takes away three tenths of the loss: of healthy detectors every trial raises it."""
_ERRORS = tuple(f'{name}_errors' for name in ERROR_TYPES)
_SYMPTOMS = (
    'regression_makes_worse', 'boxes_not_regressed', 'everything_is_object', 'rpn_misses', 'overfitted', 'undertrained',
    'classes_exchanged', 'confused_classes', 'weak_class', 'small_objects', 'unlabelled_objects', *_ERRORS,
)  # fmt: skip
"""What follows from wrong inputs or labels: heads look bad because of what they are shown."""
# What is not learnt at all has no gradient either.
_UNLEARNT = (*_SYMPTOMS, 'loss_balance')
ENOUGH_OBJECTS = 20
"""Objects without which differences of AP are chance: rules that read nothing else keep still."""
_NAMES = ('classes_exchanged', 'confused_classes', 'weak_class', *_ERRORS)

RULES: tuple[Rule, ...] = (
    # What an experiment or a count shows.
    Rule('not_finite', rules_training.not_finite, 1.0, explains=_UNLEARNT),
    Rule('num_classes', rules_data.wrong_num_classes, 1.0, explains=_SYMPTOMS),
    Rule('class_order', rules_data.class_order, 1.0, explains=_SYMPTOMS),
    Rule('labels_shifted', rules_data.shifted_labels, 1.0, _TRIAL, explains=_SYMPTOMS),
    Rule('boxes_transposed', rules_data.transposed_boxes, 1.0, _TRIAL, explains=_SYMPTOMS),
    Rule('boxes_as_corners', rules_data.boxes_as_corners, 1.0, explains=('faulty_data', *_SYMPTOMS)),
    Rule('channels_swapped', rules_input.swapped_channels, 1.0, _TRIAL, explains=_SYMPTOMS),
    Rule(
        'normalisation',
        rules_input.wrong_normalisation,
        0.95,
        _TRIAL | {'far': 2.0, 'share': 0.3, 'gap': 0.1},
        explains=_SYMPTOMS,
    ),
    Rule('test_size', rules_input.other_test_size, 1.0, _TRIAL | {'share': 0.3}, explains=_SYMPTOMS),
    Rule('truth_as_predictions', rules_training.self_check_of_metric, 1.0),
    Rule('box_coder', rules_training.self_check_of_coders, 1.0),
    Rule('score_thr', costly_setting('score_thr'), 1.0, {'cost': 0.02}, _ERRORS, ENOUGH_OBJECTS),
    Rule('nms', costly_setting('nms'), 1.0, {'cost': 0.02}, _ERRORS, ENOUGH_OBJECTS),
    Rule('max_per_img', costly_setting('max_per_img'), 1.0, {'cost': 0.02}, _ERRORS, ENOUGH_OBJECTS),
    Rule('class_without_training', rules_data.class_without_training, 1.0, explains=_NAMES),
    Rule('unreadable_images', rules_data.unreadable_images, 1.0, {'least': 0.05}, explains=('faulty_data',)),
    Rule('leakage', rules_data.leakage, 1.0),
    Rule('ignored_objects', rules_data.ignored_objects, 1.0),
    Rule('duplicate_annotations', rules_data.repeated_annotations, 0.95, explains=_ERRORS),
    # What the numbers leave little doubt about.
    Rule(
        'anchors',
        rules_heads.anchors_do_not_fit,
        0.95,
        {'overlap': 0.3, 'recall': 0.8},
        explains=('positives_too_rare', *_UNLEARNT),
    ),
    Rule(
        'positives_too_rare', rules_heads.positives_too_rare, 0.9, {'overlap': 0.5, 'share': 0.25}, explains=_UNLEARNT
    ),
    Rule(
        'too_few_proposals',
        rules_heads.too_few_proposals,
        0.9,
        {'recall': 0.9, 'most': 1000, 'per_object': 4},
        explains=_ERRORS,
    ),
    Rule('regression_makes_worse', rules_heads.regression_makes_worse, 0.9, {'loss': 0.05, 'share': 0.8}),
    Rule(
        'boxes_not_regressed',
        rules_heads.boxes_not_regressed,
        0.85,
        {'loss': 0.05, 'gain': 0.02, 'good': 0.85, 'share': 0.8},
    ),
    Rule(
        'everything_is_object',
        rules_heads.everything_is_object,
        0.85,
        {'share': 0.2},
        explains=('rpn_misses', *_ERRORS),
    ),
    Rule(
        'objects_too_small',
        rules_input.objects_too_small,
        0.9,
        _TRIAL | {'pixels': 8, 'share': 0.5, 'worth': 0.5},
        explains=_SYMPTOMS,
    ),
    Rule('objects_too_large', rules_input.objects_too_large, 0.9, _TRIAL, explains=_SYMPTOMS),
    Rule('images_distorted', rules_input.distorted_images, 0.9, {'share': 0.9}, explains=_SYMPTOMS),
    Rule('domain_gap', rules_input.domain_gap, 0.8, {'gap': 0.15, 'distance': 3.0, 'floor': 0.05}, explains=_SYMPTOMS),
    Rule(
        'unlabelled_objects',
        rules_data.unlabelled_objects,
        0.75,
        {'share': 0.2, 'ratio': 0.5, 'gap': 0.1},
        explains=('overfitted', *_ERRORS),
    ),
    Rule('untrained_parts', rules_training.untrained_parts, 0.8, {'share': 0.8}, explains=_UNLEARNT),
    Rule('rpn_misses', rules_heads.rpn_misses, 0.7, {'overlap': 0.5, 'recall': 0.8, 'lost': 0.2}),
    # What the numbers fit, among other causes.
    Rule(
        'classes_exchanged',
        rules_data.exchanged_classes,
        0.6,
        {'share': 0.3},
        explains=('overfitted', 'confused_classes', 'weak_class', *_ERRORS),
        objects=ENOUGH_OBJECTS,
    ),
    Rule('faulty_data', rules_data.faulty_data, 0.6, {'share': 0.5}),
    Rule('overfitted', rules_training.overfitted, 0.5, {'gap': 0.15}, objects=ENOUGH_OBJECTS),
    Rule(
        'undertrained',
        rules_training.undertrained,
        0.4,
        {'ap': 0.1, 'mended': 0.1},
        explains=(
            'regression_makes_worse',
            'boxes_not_regressed',
            'everything_is_object',
            'rpn_misses',
            *_NAMES,
        ),
    ),
    Rule('loss_balance', rules_training.loss_balance, 0.5, {'ratio': 0.003, 'share': 0.5}),
    Rule(
        'frozen_parts',
        rules_training.frozen_parts,
        0.5,
        {'share': 0.9, 'trunk': 0.3},
        explains=('untrained_parts', *_UNLEARNT),
    ),
    Rule('batch_size', rules_training.batch_and_rate, 0.3, {'share': 0.3}),
    Rule('empty_images', rules_data.empty_images, 0.4, {'share': 0.3}),
    Rule('confused_classes', rules_errors.confused_classes, 0.4, {'share': 0.25, 'objects': 10}),
    Rule('weak_class', rules_training.missed_in_training, 0.3, {'gap': 0.3, 'objects': 5}),
    Rule('small_objects', rules_errors.small_objects, 0.3, {'gap': 0.3, 'share': 0.3}, objects=ENOUGH_OBJECTS),
    *(Rule(f'{name}_errors', error_type(name), 0.3, {'gain': 0.1}, objects=ENOUGH_OBJECTS) for name in ERROR_TYPES),
)
"""In the order of certainty; the verdicts are in the order of what they could return."""
