#!/usr/bin/env bash
# Builds the images of a cluster, with docker or podman, from programs that cargo builds here.
#
# In: ENGINE (docker or podman; default: whichever is there), TARGETS (default: replay actor learner; learner-cuda after
# `make setup CUDA=1`), VERSION (the tag; default: that of Cargo.toml), REGISTRY (a prefix of the names, e.g.
# registry.example/team/; default: none), DEBIAN (the base, e.g. debian:bookworm-slim@sha256:...), PROGRAMS (a folder with
# the programs, if they are built already), FROM_SOURCE=1 (build inside the image instead). Out: images REGISTRYmahrl/TARGET:VERSION, their sizes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly REGISTRY=${REGISTRY:-} DIR=target/images
VERSION=${VERSION:-$(sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -n 1)}
COMMIT=${COMMIT:-$(git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || true)}
read -r -a targets <<<"${TARGETS:-replay actor learner}"

say() { printf 'images: %s\n' "$*" >&2; }

engine=${ENGINE:-}
if [ -z "$engine" ]; then
  for candidate in docker podman; do
    if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
      engine=$candidate
      break
    fi
  done
fi
if [ -z "$engine" ]; then
  say 'neither docker nor podman works here: install one and start its engine, or name it by ENGINE'
  exit 1
fi

# layout: programs and libraries as the Dockerfile expects them, without symbols.
layout() {
  local name programs=${PROGRAMS:-}
  if [ -z "$programs" ]; then
    programs=${CARGO_TARGET_DIR:-target}/release
    say 'building the programs'
    MAHRL_COMMIT=$COMMIT cargo build --workspace --bins --release ${CARGO_FLAGS:-}
  fi
  rm -rf "$DIR"
  mkdir -p "$DIR"
  for name in replay actor learner; do
    install -m 0755 "$programs/$name" "$DIR/$name"
    if command -v strip >/dev/null; then strip "$DIR/$name"; fi
  done
  local suffix=''
  if compgen -G '.libtorch/.ok-*-cuda' >/dev/null; then
    suffix=-cuda
    mv "$DIR/learner" "$DIR/learner-cuda"
  fi
  mkdir -p "$DIR/libtorch$suffix/torch"
  cp -rL "${LIBTORCH:-.libtorch/torch}/lib" "$DIR/libtorch$suffix/torch/lib"
  if [ -d "${LIBTORCH:-.libtorch/torch}/../nvidia" ]; then
    cp -rL "${LIBTORCH:-.libtorch/torch}/../nvidia" "$DIR/libtorch$suffix/nvidia"
  fi
}

arguments=(--build-arg "VERSION=$VERSION" --build-arg "COMMIT=$COMMIT")
[ -z "${DEBIAN:-}" ] || arguments+=(--build-arg "DEBIAN=$DEBIAN")
if [ -z "${FROM_SOURCE:-}" ]; then
  layout
  arguments+=(--build-arg "BINARIES=$DIR")
fi
for target in "${targets[@]}"; do
  # Podman would put localhost/ in front of a short name, which no manifest has.
  name=${REGISTRY:-docker.io/}mahrl/$target:$VERSION
  say "building $name"
  cuda=0
  [ "$target" != learner-cuda ] || cuda=1
  "$engine" build --target "$target" --tag "$name" "${arguments[@]}" --build-arg "CUDA=$cuda" .
  # What was built against a newer C library than the base's would fail in the cluster only.
  if [ "$target" != learner-cuda ] && ! "$engine" run --rm --network none "$name" --version >&2; then
    say "$name does not run; where it misses a version of GLIBC, this machine is newer than its base: FROM_SOURCE=1 make images"
    exit 1
  fi
  bytes=$("$engine" image inspect --format '{{.Size}}' "$name")
  say "$name: $((bytes / 1000000)) MB"
done
