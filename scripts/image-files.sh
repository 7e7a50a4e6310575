#!/usr/bin/env bash
# In the image's build stage: lays out the programs and libraries that the images take.
#
# In: the folder to fill; BINARIES=DIR with programs that are built, or nothing (then it builds them: needs cargo, a C++
# compiler, python3 with pip, and the network); COMMIT for --version; CUDA=1 for an NVIDIA GPU. Out: replay, actor, learner
# and libtorch/ in that folder, with CUDA learner-cuda and libtorch-cuda/. What DIR lacks is left out: the target that
# needs it fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OUT=$1
say() { printf 'image-files: %s\n' "$*" >&2; }

mkdir -p "$OUT"
if [ -n "${BINARIES:-}" ]; then
  [ -d "$BINARIES" ] || {
    say "BINARIES=$BINARIES is no folder of the build context (is it in .dockerignore?)"
    exit 1
  }
  for name in replay actor learner learner-cuda libtorch libtorch-cuda; do
    if [ -e "$BINARIES/$name" ]; then
      cp -rL "$BINARIES/$name" "$OUT/$name"
    fi
  done
  if [ -f "$OUT/learner" ] && [ ! -e "$OUT/libtorch" ] && [ -d .libtorch/torch/lib ]; then
    cp -rL .libtorch "$OUT/libtorch"
  fi
  chmod -R a+rX "$OUT"
  for name in replay actor learner learner-cuda; do
    if [ -f "$OUT/$name" ]; then chmod 0755 "$OUT/$name"; else say "no $name in $BINARIES: targets that need it fail"; fi
  done
  exit 0
fi

command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || {
  apt-get update -q
  apt-get install -y -q --no-install-recommends python3 python3-pip python3-venv
}
suffix=''
[ "${CUDA:-0}" = 0 ] || suffix=-cuda
CUDA=${CUDA:-0} scripts/setup-libtorch.sh
MAHRL_COMMIT=${COMMIT:-} CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --locked --workspace --bins
install -m 0755 target/release/replay target/release/actor "$OUT/"
install -m 0755 target/release/learner "$OUT/learner$suffix"
mkdir -p "$OUT/libtorch$suffix/torch"
cp -r .libtorch/torch/lib "$OUT/libtorch$suffix/torch/"
if [ -d .libtorch/nvidia ]; then cp -r .libtorch/nvidia "$OUT/libtorch$suffix/"; fi
