#!/usr/bin/env bash
# Runs the named checks one after the other, says what each does and how long it took, and closes with one line.
#
# In: any of `formatting lints tests docs`; CARGO_FLAGS for cargo. Out: exit 0 when all passed, 1 at the first that did
# not (all tests run before that). All of it builds in the dev profile with the features of the whole workspace, so
# that nothing is built twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -r -a flags <<<"${CARGO_FLAGS:-}"
# ROOM: what target comes to, images of the container tests included, rounded up; in MB.
readonly TARGET=${CARGO_TARGET_DIR:-target} ROOM=10000
readonly LOG=$TARGET/test.log
current='' counted='' done_steps=()

formatting() { cargo fmt --all --check; }
# The second one is a learner without libtorch; of all packages only the learner differs.
lints() {
  cargo clippy --workspace --all-targets "${flags[@]}" -- -D warnings
  cargo clippy --workspace --all-targets --no-default-features "${flags[@]}" -- -D warnings
}
# With private items: the readers are those who work on the code, and module maps link to private modules.
docs() {
  RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' \
    cargo doc --workspace --no-deps --document-private-items "${flags[@]}"
}
tests() {
  local status=0
  cargo test --workspace --no-fail-fast "${flags[@]}" 2>&1 | tee "$LOG" || status=$?
  # Adds up the closing lines of all test programs: "test result: ok. 12 passed; 0 failed; ...".
  counted=$(sed -nE 's/.*test result: .* ([0-9]+) passed; ([0-9]+) failed; .*/\1 \2/p' "$LOG" |
    awk '{ passed += $1; failed += $2 } END { printf "%d passed, %d failed", passed, failed }')
  if [ "$status" -eq 0 ] && [[ "$counted" == '0 passed'* ]]; then
    echo 'no test ran' >&2
    status=1
  fi
  # Wherever else, kernels are built without the checks of every pointer, in tests too.
  cargo test -p kernels --config 'profile.dev.package.kernels.debug-assertions=true' "${flags[@]}" || status=$?
  return "$status"
}

what() { # STEP: what it does, for the person who waits
  case "$1" in
    formatting) echo 'formatting (cargo fmt --check)' ;;
    lints) echo 'lints (cargo clippy, warnings are errors)' ;;
    tests) echo 'tests of every crate (cargo test; the first build takes some minutes)' ;;
    docs) echo 'docs (rustdoc, warnings are errors)' ;;
    *)
      echo "test.sh: no step is called $1 (formatting, lints, tests, docs)" >&2
      return 2
      ;;
  esac
}

if [ $# -eq 0 ]; then
  echo 'test.sh: name what to run: formatting, lints, tests, docs' >&2
  exit 2
fi
mkdir -p "$TARGET"
mb_free() { df -Pm "$TARGET" | awk 'NR == 2 { print $4 }'; }
mb_used() { du -xsm "$TARGET" 2>/dev/null | cut -f 1; }
# Whether the disk has less room than is still to be filled.
is_short_of_room() { [ "$(($(mb_free) + $(mb_used)))" -lt "$ROOM" ]; }

close() {
  local status=$?
  if [ "$status" -ne 0 ] && [ -n "$current" ]; then
    echo "==> FAILED: $current, after ${SECONDS} s${counted:+ ($counted)}"
    # A linker that found the disk full only says `Bus error`.
    if [ "$(mb_free)" -lt 500 ] || is_short_of_room; then echo "    $(mb_free) MB are free where $TARGET is: that may be why"; fi
  elif [ "$status" -eq 0 ]; then
    echo "==> passed: ${done_steps[*]}, in ${SECONDS} s"
    [ -z "$counted" ] || echo "total: $counted"
  fi
}
trap close EXIT

if is_short_of_room; then
  echo "test.sh: $TARGET comes to some $ROOM MB, it has $(mb_used), and $(mb_free) are free there: a build may fail for that" >&2
fi
for step in "$@"; do
  title=$(what "$step")
  echo "==> $title"
  current=$step
  began=$SECONDS
  "$step"
  done_steps+=("$step ($((SECONDS - began)) s)")
done
