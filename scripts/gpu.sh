#!/usr/bin/env bash
# bash scripts/gpu.sh OUT [--quick] [--minutes N]: all that there is to know of this machine's GPU, into OUT/gpu.json and
# OUT/gpu.md: whether kernels compute what they should, tuning, benches, training steps with and without --amp, and PyTorch
# on the same card where python3 has it. Needs dist/ and the webgpu package, nothing else, and no network.
exec node "$(dirname "$0")/gpu.mjs" "$@"
