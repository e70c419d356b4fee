#!/usr/bin/env bash
# Train on N processes of this machine: dist_train.sh CONFIG N [arguments of tools/train.py]
# GPUs over NCCL when there are any, else CPU cores over gloo. Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG N [arguments of tools/train.py]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
exec "$PYTHON" -m torch.distributed.run "${TORCHRUN_ARGS[@]}" --nproc_per_node="$GPUS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "$@"
