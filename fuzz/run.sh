#!/usr/bin/env bash
# Fuzzes one target from the samples and the bad files of the tests: fuzz/run.sh parse|check|fmt [libFuzzer's options].
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
shift
mkdir -p "fuzz/corpus/$target"
exec cargo +nightly fuzz run --sanitizer none "$target" \
  "fuzz/corpus/$target" tests/it/samples tests/it/diagnostics tests/it/fmt -- -dict=fuzz/agx.dict -timeout=20 "$@"
