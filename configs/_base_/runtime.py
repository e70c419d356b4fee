"""mmdet's runtime plus this package: its modules, exact resume, and checks of data, heads and losses beforehand."""

_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)

custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='DatasetCheckHook'),
    dict(type='LossScopeHook'),
]
