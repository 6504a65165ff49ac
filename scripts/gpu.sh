#!/usr/bin/env bash
# bash scripts/gpu.sh OUT [--quick] [--minutes N]: the same as scripts/gpu.mjs, which says what it does.
exec node "$(dirname "$0")/gpu.mjs" "$@"
