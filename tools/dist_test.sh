#!/usr/bin/env bash
# Test on N processes of this machine: dist_test.sh CONFIG CHECKPOINT N [arguments of tools/test.py]
# GPUs over NCCL when there are any, else CPU cores over gloo. Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT N [arguments of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
source "$(dirname "${BASH_SOURCE[0]}")/launch_env.sh"
exec "$PYTHON" -m torch.distributed.run "${TORCHRUN_ARGS[@]}" --nproc_per_node="$GPUS" \
    "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
