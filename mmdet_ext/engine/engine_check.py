"""What a config asks of FSDP or DeepSpeed and they cannot do, said before anything is built."""

from importlib.util import find_spec

from mmengine.config import Config


def check_engine(cfg: Config, *, amp: bool = False) -> None:
    """Look at `runner_type`, `strategy` and what does not go with them.

    Args:
        cfg: Config that is to be trained.
        amp: Whether `--amp` was given.

    Raises:
        ValueError: A strategy that no runner reads, a package that is missing, a launcher, hook or option that does not
            work with the strategy.
    """
    strategy = cfg.get('strategy')
    if cfg.get('runner_type', 'Runner') == 'Runner':
        if strategy is not None:
            raise ValueError("strategy is read by the FlexibleRunner alone; add runner_type = 'FlexibleRunner'.")
        return
    if any('EMAHook' in str(hook['type']) for hook in cfg.get('custom_hooks') or []):
        raise ValueError(
            'EMAHook does not work with the FlexibleRunner: it would average the shards of a rank, and cannot be '
            'resumed. Take it out of custom_hooks, or train with the plain Runner (DDP).'
        )
    kind = str((strategy or {}).get('type'))
    if 'DeepSpeed' in kind:
        if find_spec('deepspeed') is None:
            raise ValueError("DeepSpeedStrategy needs the package deepspeed: pip install 'deepspeed>=0.13.2'.")
        if amp:
            raise ValueError('--amp: DeepSpeed casts by itself; set strategy.bf16=dict(enabled=True) instead.')
    elif cfg.get('launcher', 'none') == 'none' and ('FSDP' in kind or 'Sharded' in kind):
        raise ValueError(f'{kind} shards over ranks: start it by tools/dist_train.sh CONFIG N, or another --launcher.')
