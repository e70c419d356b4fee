"""Set-up of the process and report on the environment."""

from .setup_env import register_all_modules

__all__ = ['register_all_modules']
