"""mmdet's runtime plus this package: its modules, exact resume, and a check of data and heads before the first step."""

_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)

custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='DatasetCheckHook'),
]
