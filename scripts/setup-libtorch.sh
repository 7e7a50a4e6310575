#!/usr/bin/env bash
# Fetches libtorch into .libtorch/ and says what is missing on this machine. `make setup` calls it; so do `make train` and
# `make test`, every time: when all is there it ends within a second.
#
# In: CUDA=1 for an NVIDIA GPU (default: CPU only); LIBTORCH=DIR to use a libtorch of your own.
# Out: .libtorch/torch (the LIBTORCH of .cargo/config.toml) and .libtorch/nvidia, beside a marker .ok-VERSION-MODE.
# Exit: 0 all there; 1 the download or a check of it failed, run it again; 2 this machine lacks something, and the
# message names it. With 2 nothing was changed.
#
# libtorch comes out of the PyPI wheel of PyTorch, because that is where a mirror or a proxy that a user's pip knows will
# have it. Wheels are pinned by version and SHA-256 (scripts/libtorch), downloaded one by one (those that arrived are
# kept when a run is interrupted), unpacked beside .libtorch and renamed into place when every library has its size.
set -euo pipefail
shopt -s nullglob

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly DEST=.libtorch TMP=.libtorch.tmp LISTS=scripts/libtorch
readonly MIN_GLIBC=2.28 MIN_PIP=20.3 # of the wheel's tag (manylinux_2_28), and of pips that know such tags

say() { printf 'setup: %s\n' "$*"; }
fail() { # MESSAGE...: something went wrong on the way
  printf 'setup: failed: %s\n' "$@" >&2
  exit 1
}
refuse() { # PROBLEM...: this machine cannot do it as it is
  printf 'setup: this machine is not ready:\n' >&2
  printf '  - %s\n' "$@" >&2
  exit 2
}
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; } # VERSION LEAST
dotted() { sed -nE 's/[^0-9]*([0-9]+(\.[0-9]+)+).*/\1/p' | head -n 1; }           # first version number of the input

case "${CUDA:-}" in
  '' | 0 | no | false) MODE=cpu DOWNLOAD_MB=540 UNPACKED_MB=490 ;;
  1 | yes | true) MODE=cuda DOWNLOAD_MB=2524 UNPACKED_MB=3570 ;;
  *) refuse "CUDA=$CUDA is neither 1 (NVIDIA GPU) nor 0 (CPU)" ;;
esac
TORCH=$(sed -nE 's/^torch==([^ ]+).*/\1/p' "$LISTS/$MODE-wheels.txt")
RUST=$(sed -nE 's/^rust-version = "(.*)"/\1/p' Cargo.toml)
readonly MODE DOWNLOAD_MB UNPACKED_MB TORCH RUST

# FOLDER: whether the headers in FOLDER/include are of our version; FAULT says why not.
right_headers() {
  local header="$1/include/torch/headeronly/version.h" found
  [ -f "$header" ] || { FAULT="$header is missing" && return 1; }
  found=$(sed -nE 's/^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+).*/\2/p' "$header" | paste -sd. -)
  [ "$found" = "$TORCH" ] || { FAULT="$header is of version $found, not $TORCH" && return 1; }
}

# FOLDER MODE: whether FOLDER holds every library of the mode in its size, and the headers; FAULT says what is wrong.
whole() {
  local size path actual
  while read -r size path; do
    [[ "$size" =~ ^[0-9]+$ ]] || continue
    actual=$(stat -c %s "$1/$path" 2>/dev/null) || { FAULT="$1/$path is missing" && return 1; }
    [ "$actual" = "$size" ] || { FAULT="$1/$path has $actual bytes, not $size" && return 1; }
  done <"$LISTS/$2-files.txt"
  right_headers "$1/torch"
}

# The mode of a whole .libtorch that will do (one for CUDA also runs on a CPU), or nothing.
installed() {
  local mode
  for mode in $([ "$MODE" = cpu ] && echo cpu) cuda; do
    if [ -f "$DEST/.ok-$TORCH-$mode" ]; then
      if whole "$DEST" "$mode"; then
        echo "$mode"
        return
      fi
      say "$FAULT: fetching libtorch again" >&2
    fi
  done
}

# What every build needs, libtorch or not. Adds to PROBLEMS.
check_build_tools() {
  local version
  if ! have cargo || ! have rustc; then
    PROBLEMS+=("Rust (cargo and rustc $RUST or newer) is missing: install rustup (apt install rustup | dnf install rustup | brew install rustup | https://rustup.rs), then: rustup default stable")
  else
    version=$(rustc --version | dotted)
    at_least "${version:-0}" "$RUST" ||
      PROBLEMS+=("rustc is version ${version:-unknown}, $RUST or newer is needed: rustup update stable")
  fi
  if [ -n "${CXX:-}" ]; then
    have "${CXX%% *}" || PROBLEMS+=("CXX=$CXX is set, but there is no such command")
  elif ! have c++; then
    if have g++; then
      PROBLEMS+=("g++ is here but no command c++: export CXX=g++")
    elif have clang++; then
      PROBLEMS+=("clang++ is here but no command c++: export CXX=clang++")
    else
      PROBLEMS+=("a C++ compiler (g++ or clang++) is missing: apt install g++ | dnf install gcc-c++ | brew install gcc")
    fi
  fi
}

# Adds to PROBLEMS what stands between this platform and the wheel.
check_platform() {
  local system machine glibc hand
  system=$(uname -s) machine=$(uname -m)
  hand="unpack or build libtorch $TORCH yourself, then: export LIBTORCH=/path/to/libtorch LD_LIBRARY_PATH=/path/to/libtorch/lib"
  if [ "$system $machine" != 'Linux x86_64' ]; then
    PROBLEMS+=("$system on $machine is not supported by this script, only Linux on x86_64: $hand")
    return
  fi
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | dotted) || true
  at_least "${glibc:-0}" "$MIN_GLIBC" ||
    PROBLEMS+=("the C library is ${glibc:+glibc }${glibc:-not glibc}, and PyTorch's wheel needs glibc $MIN_GLIBC or newer: use a newer distribution, or $hand")
}

# Sets PIP to a pip that can download, or adds to PROBLEMS. A missing pip is made in a throw-away venv where possible.
find_pip() {
  local version
  if ! have python3; then
    PROBLEMS+=("python3 with pip is missing: apt install python3-pip | dnf install python3-pip | brew install python")
    return
  fi
  PIP=(python3 -m pip)
  if ! "${PIP[@]}" --version >/dev/null 2>&1; then
    PIP=("$TMP/venv/bin/python" -m pip)
    if ! { python3 -m venv "$TMP/venv" && "${PIP[@]}" --version; } >/dev/null 2>&1; then
      rm -rf "$TMP/venv"
      PROBLEMS+=("pip is missing (python3 -m pip): apt install python3-pip | dnf install python3-pip | brew install python")
      return
    fi
  fi
  version=$("${PIP[@]}" --version | dotted)
  at_least "${version:-0}" "$MIN_PIP" ||
    PROBLEMS+=("pip is version ${version:-unknown}, $MIN_PIP or newer is needed: python3 -m pip install --upgrade pip")
}

# Adds to PROBLEMS when wheels and what is unpacked from them do not fit beside each other (pip holds a wheel twice for
# a moment, hence the 600 MB of the largest on top).
check_disk() {
  local need=$((DOWNLOAD_MB + UNPACKED_MB + 600)) free
  free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free" -ge "$need" ] || PROBLEMS+=("$free MB are free in $PWD, libtorch ($MODE) needs $need MB for a moment: free some space")
}

# Downloads every wheel of the list into $TMP/wheels, one at a time; those already there are kept.
# pip's own settings (index, proxy, certificates) hold; the tags are pinned, so that any python3 will do.
download() {
  local tags=() minor requirement
  for minor in $(seq 28 -1 5); do tags+=(--platform "manylinux_2_${minor}_x86_64"); done
  tags+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --platform manylinux1_x86_64 --platform any)
  tags+=(--python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none)
  mkdir -p "$TMP/wheels" "$TMP/pip"
  while read -r requirement; do
    [[ "$requirement" == *==* && "$requirement" != '#'* ]] || continue
    printf '%s\n' "$requirement" >"$TMP/requirement.txt"
    # --require-hashes: another file under the same name is refused.
    # TMPDIR: a wheel passes through it, and /tmp may be small; PIP_REQUIRE_VIRTUALENV: nothing is installed.
    TMPDIR="$PWD/$TMP/pip" PIP_REQUIRE_VIRTUALENV=0 "${PIP[@]}" --disable-pip-version-check download --no-deps \
      --only-binary=:all: --require-hashes "${tags[@]}" --dest "$TMP/wheels" --requirement "$TMP/requirement.txt" </dev/null ||
      fail "pip could not download ${requirement%% *} (its message is above); what arrived is kept in $TMP, run it again to go on"
  done <"$LISTS/$MODE-wheels.txt"
}

# Unpacks into $TMP/tree, checks it, and renames it to .libtorch.
unpack() {
  local had=()
  had=("$DEST"/.ok-*)
  rm -rf "$TMP/tree" "$TMP/old"
  python3 scripts/unpack-wheels.py "$LISTS/$MODE-files.txt" "$TMP/tree" "$TMP"/wheels/*.whl ||
    fail "the wheels in $TMP could not be unpacked; remove that folder and run it again"
  whole "$TMP/tree" "$MODE" || fail "$FAULT; remove $TMP and run it again"
  printf '%s\n' "$TORCH" >"$TMP/tree/torch/build-version" # torch-sys checks it when it is built
  : >"$TMP/tree/.ok-$TORCH-$MODE"
  if [ -e "$DEST" ]; then mv "$DEST" "$TMP/old"; fi
  mv "$TMP/tree" "$DEST"
  rm -rf "$TMP"
  # torch-sys decides when it is built whether to link CUDA, and does not notice a change in the folder.
  if [ ${#had[@]} -gt 0 ] && [ -d target ] && [ ! -f "$DEST/${had[0]##*/}" ]; then
    for profile in dev release; do
      cargo clean --quiet --profile "$profile" -p torch-sys ||
        say "could not clean torch-sys ($profile): remove target/ before the next build" >&2
    done
  fi
}

own=${LIBTORCH:-}
if [ -n "$own" ] && [ "$own" != "$PWD/$DEST/torch" ] && ! [ "$own" -ef "$DEST/torch" ]; then
  PROBLEMS=()
  check_build_tools
  [ -f "$own/lib/libtorch_cpu.so" ] || [ -f "$own/lib/libtorch_cpu.dylib" ] ||
    PROBLEMS+=("LIBTORCH=$own is set, but there is no $own/lib/libtorch_cpu.so: point it to a libtorch $TORCH, or unset it")
  [ ${#PROBLEMS[@]} -gt 0 ] || right_headers "$own" ||
    PROBLEMS+=("LIBTORCH=$own is set, but $FAULT: point it to a libtorch $TORCH, or unset it")
  [ ${#PROBLEMS[@]} -eq 0 ] || refuse "${PROBLEMS[@]}"
  say "using your libtorch $TORCH in $own (LIBTORCH is set); programs look for it in LD_LIBRARY_PATH"
  exit 0
fi

# One at a time in this checkout: the lock is on this file, and ends with this process.
if have flock; then
  exec 9<scripts/setup-libtorch.sh
  flock -n 9 || { say "another set-up is running, waiting for it" && flock 9; }
fi

PROBLEMS=() FAULT=''
check_build_tools
there=$(installed)
if [ -n "$there" ]; then
  [ ${#PROBLEMS[@]} -eq 0 ] || refuse "${PROBLEMS[@]}"
  say "libtorch $TORCH ($there) is already there, in $DEST"
  exit 0
fi
check_platform
find_pip
check_disk
if [ ${#PROBLEMS[@]} -gt 0 ]; then
  rm -rf "$TMP/venv"
  rmdir "$TMP" 2>/dev/null || true
  refuse "${PROBLEMS[@]}"
fi

say "libtorch $TORCH ($MODE): downloading $DOWNLOAD_MB MB from the package index of your pip (PyPI unless you set another),"
say "keeping $UNPACKED_MB MB in $PWD/$DEST; nothing is installed outside this folder"
trap 'say "interrupted; what arrived is kept in $TMP, run it again to go on" >&2; exit 130' INT TERM
download
say "unpacking and checking"
unpack
say "libtorch $TORCH ($MODE) is in $DEST: $(wc -l < <(grep -v '^#' "$LISTS/$MODE-files.txt")) libraries and the headers, $(du -sm "$DEST" | cut -f1) MB"
