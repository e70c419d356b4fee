"""Evaluate a checkpoint: mmdet's flags, and `--dataset FILE`, which tests on other data."""

import argparse
import os

import mmdet_ext  # noqa: F401  (makes `mmdet_ext::` paths known before a config is read)
from mmdet_ext.engine.config_arguments import add_config_arguments
from mmdet_ext.engine.launch import test


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Test a detector')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the metrics go (default: work_dirs/<config name>)')
    parser.add_argument('--out', help='.pkl file for the predictions')
    parser.add_argument('--show', action='store_true', help='show the predictions')
    parser.add_argument('--show-dir', help='directory below work_dir/<time>/ for pictures of the predictions')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds between pictures shown')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_config_arguments(parser, 'model.test_cfg.rcnn.score_thr=0.1 "key=[1,2]"')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    del args.local_rank
    return args


if __name__ == '__main__':
    test(**vars(parse_args()))
