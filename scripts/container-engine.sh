#!/usr/bin/env bash
# A Docker engine for tests, with the images that no registry is asked for: the running one, or one of the tests' own.
#
# In: a folder for an engine's files; docker on PATH. Out: `DOCKER_HOST=...` on standard output (empty value: the engine
# that docker talks to anyway), an engine with the images debian:bookworm-slim and redis:7.2.16-alpine. Exit 3, with the
# reason, where there is none and none can be started. An engine that this starts has a network of its own without a way
# out, and lives until `container-engine.sh DIR down`.
set -euo pipefail

readonly DIR=$1 ACTION=${2:-up} NETNS=mahrl-engine
readonly BASE=debian:bookworm-slim REDIS=redis:7.2.16-alpine

say() { printf 'container-engine: %s\n' "$*" >&2; }
cannot() {
  say "$*"
  exit 3
}
have() { command -v "$1" >/dev/null 2>&1; }

stop() {
  if [ -f "$DIR/pid" ]; then
    local pid
    pid=$(cat "$DIR/pid")
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      [ -d "/proc/$pid" ] || break
      sleep 0.2
    done
  fi
  ip netns delete "$NETNS" 2>/dev/null || true
}
if [ "$ACTION" = down ]; then
  stop
  exit 0
fi

have docker || cannot 'docker is not on PATH'
mkdir -p "$DIR"
host=''
if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" -eq 0 ] || cannot 'no Docker engine runs, and only root may start one'
  for program in dockerd ip nsenter; do have "$program" || cannot "no Docker engine runs, and $program is missing (apt-get install docker.io iptables iproute2)"; done
  DIR_FULL=$(cd "$DIR" && pwd)
  host=unix://$DIR_FULL/socket
  if ! DOCKER_HOST=$host docker info >/dev/null 2>&1; then
    stop
    ip netns add "$NETNS" || cannot 'this machine gives no network namespaces'
    ip netns exec "$NETNS" ip link set lo up
    # nsenter and not `ip netns exec`, which hides the control groups.
    nohup nsenter --net="/run/netns/$NETNS" dockerd --host "$host" --data-root "$DIR_FULL/data" --exec-root "$DIR_FULL/exec" \
      --pidfile "$DIR_FULL/pid" >"$DIR_FULL/log" 2>&1 </dev/null &
    for _ in $(seq 150); do
      if DOCKER_HOST=$host docker info >/dev/null 2>&1; then break; fi
      sleep 0.2
    done
    DOCKER_HOST=$host docker info >/dev/null 2>&1 || cannot "dockerd did not start: $(tail -n 1 "$DIR_FULL/log")"
  fi
  export DOCKER_HOST=$host
fi

if ! docker image inspect "$BASE" >/dev/null 2>&1 && ! { [ -z "$host" ] && docker pull -q "$BASE" >/dev/null 2>&1; }; then
  have debootstrap || cannot "$BASE cannot be pulled, and debootstrap is missing (apt-get install debootstrap)"
  say "making $BASE by debootstrap"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  debootstrap --variant=minbase bookworm "$root" >"$DIR/debootstrap.log" 2>&1 ||
    cannot "debootstrap failed: $(tail -n 1 "$DIR/debootstrap.log")"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
  tar -C "$root" -c . | docker import - "$BASE" >/dev/null
fi
if ! docker image inspect "$REDIS" >/dev/null 2>&1 && ! { [ -z "$host" ] && docker pull -q "$REDIS" >/dev/null 2>&1; }; then
  have redis-server && have redis-cli || cannot "$REDIS cannot be pulled, and redis-server is missing (apt-get install redis-server)"
  say "making $REDIS of this machine's redis-server"
  files=$(mktemp -d)
  trap 'rm -rf "${root:-}" "$files"' EXIT
  # The programs where the real image has them, and the libraries that they load beside those of the base's own libc.
  mkdir -p "$files/bin" "$files/lib"
  for program in redis-server redis-cli; do
    install "$(readlink -f "$(command -v "$program")")" "$files/bin/$program"
    ldd "$(command -v "$program")" | sed -nE 's/.*=> (\/[^ ]+) .*/\1/p' | while read -r library; do
      case "$library" in
        */libc.so.* | */libm.so.* | */libpthread.so.* | */libdl.so.* | */librt.so.*) ;;
        *) install "$library" "$files/lib/" ;;
      esac
    done
  done
  printf 'FROM %s\nCOPY bin /usr/local/bin/\nCOPY lib /usr/local/lib/redis/\nENV LD_LIBRARY_PATH=/usr/local/lib/redis\n' \
    "$BASE" >"$files/Dockerfile"
  docker build -q -t "$REDIS" "$files" >/dev/null
fi
echo "DOCKER_HOST=$host"
