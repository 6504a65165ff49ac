#!/usr/bin/env bash
# bash scripts/gpu.sh OUT [--quick] [--minutes N]: checks and measures this machine's GPU and writes OUT/gpu.json and
# OUT/gpu.md: the kernel checks, tuning, benchmarks, training steps with and without --amp, and PyTorch on the same card if
# python3 has it. It needs dist/ and the webgpu package, and no network.
exec node "$(dirname "$0")/gpu.mjs" "$@"
