#!/usr/bin/env bash
# Lets the fuzz targets go on from their corpora for a while, and keeps what covers more. See --help.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/local/lib.sh"

usage() {
  cat <<'TEXT'
usage: tests/fuzz/run.sh [--seconds N] [TARGET...]

Builds the fuzz targets (preset dev) and runs each, or those named, for N seconds (default: 60). What reaches
new branches is added to tests/fuzz/corpus, and what does not any more is taken out. A finding is left in build/dev/fuzz, and
ends the run with 1.
TEXT
}

LENGTH=60
case ${1:-} in
  --help | -h) usage; exit 0 ;;
  --seconds)
    [[ $# -ge 2 ]] || { usage >&2; exit 2; }
    LENGTH=$2
    shift 2
    ;;
esac

# keep NAME DIR: of the corpus and what is in DIR, the fewest files that reach all branches; and the seeds, which
# are there for what they mean.
keep() {
  local corpus=$ROOT/tests/fuzz/corpus/$1 fewest seed
  fewest=$(mktemp -d)
  "$ROOT/build/dev/bin/fuzz_$1" -set_cover_merge=1 -use_counters=0 -verbosity=0 "$fewest" "$corpus" "$2" 2>/dev/null
  for seed in "$corpus"/seed-*; do
    rm -f "$fewest/$(sha1sum "$seed" | cut -d ' ' -f 1)"
  done
  find "$corpus" -type f ! -name 'seed-*' -delete
  cp -r "$fewest/." "$corpus"
  rm -rf "$fewest"
}

main() {
  local corpus=$ROOT/tests/fuzz/corpus build=$ROOT/build/dev targets=("$@") name work
  (($#)) || mapfile -t targets < <(ls "$corpus")
  need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_CLANG[@]}"
  (cd "$ROOT" && cmake --preset dev >/dev/null && cmake --build --preset dev --target "${targets[@]/#/fuzz_}")
  for name in "${targets[@]}"; do
    step "$name"
    work=$(mktemp -d)
    "$build/bin/fuzz_$name" -max_total_time="$LENGTH" -max_len=4000 -timeout=20 -verbosity=0 \
      -print_final_stats=1 -artifact_prefix="$build/fuzz/$name-" "$work" "$corpus/$name" \
      >"$build/fuzz/$name.log" 2>&1 ||
      { tail -n 40 "$build/fuzz/$name.log" >&2; fail "$name has found something: see $build/fuzz"; }
    note "$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$name.log") inputs"
    keep "$name" "$work"
    rm -rf "$work"
  done
}

main "$@"
