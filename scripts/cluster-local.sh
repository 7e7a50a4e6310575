#!/usr/bin/env bash
# A cluster on this machine, of real processes: redis-server, replay shards, actors, and the learner in front.
#
# In: ACTORS, SHARDS, RUN (a name), RUNS (a folder), SETTINGS (a TOML file to start from), PROFILE (release, dev) or
# BINARIES (a folder with replay, actor and learner, which are not built then); arguments are those of `learner train`, and
# what they set holds for all. Out: RUNS/RUN with logs/, data/ and the learner's files; what the learner says, and its exit
# code. Kill any of the processes meanwhile: those listed in RUNS/RUN/logs/pids (the last of a name) may be killed by hand,
# and are started again here. Ctrl-C or SIGTERM ends all, the learner first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ACTORS=${ACTORS:-4} SHARDS=${SHARDS:-3} RUN=${RUN:-local} PROFILE=${PROFILE:-release}
readonly DIR=${RUNS:-runs}/$RUN BIN=${BINARIES:-${CARGO_TARGET_DIR:-target}/${PROFILE/dev/debug}}

say() { printf 'cluster-local: %s\n' "$*" >&2; }

for program in redis-server python3; do
  if ! command -v "$program" >/dev/null; then
    say "$program is missing: apt-get install $program"
    exit 1
  fi
done
if [ -z "${BINARIES:-}" ]; then
  say "building replay, actor and learner ($PROFILE)"
  # The whole workspace, as every other target: features do not change, nothing is built twice.
  cargo build --workspace --bins --profile "$PROFILE" ${CARGO_FLAGS:-}
fi

mkdir -p "$DIR/logs" "$DIR/data"
: >"$DIR/logs/pids"
pids=()
end() {
  trap - EXIT INT TERM
  say 'ending actors, shards and redis'
  # The watchers, which end what they watch: a second signal would end it at once.
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait || true
}
trap end EXIT
trap 'exit 130' INT TERM

# Below the ports of outgoing connections: still free when redis is started again.
free_port() {
  python3 - <<'PY'
import random
import socket

while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        if s.connect_ex(("127.0.0.1", port)) != 0:
            print(port)
            break
PY
}

# keep NAME COMMAND...: runs a process, and again whenever it is killed; ends everything if it cannot even start.
keep() {
  local name=$1
  shift
  set -m
  (
    child=''
    trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null; wait; exit 0' TERM
    quick=0
    while true; do
      began=$SECONDS
      "$@" >>"$DIR/logs/$name.log" 2>&1 &
      child=$!
      printf '%s %s\n' "$name" "$child" >>"$DIR/logs/pids"
      status=0
      wait "$child" || status=$?
      # 0: the run is over, or it was asked to end.
      [ "$status" -ne 0 ] || exit 0
      if [ "$status" -lt 128 ] && ((SECONDS - began < 5)); then quick=$((quick + 1)); else quick=0; fi
      if ((quick == 5)); then
        say "$name does not start; the end of $DIR/logs/$name.log:"
        tail -n 3 "$DIR/logs/$name.log" >&2
        kill -TERM "$$"
        exit 1
      fi
      say "$name ended with status $status; starting it again"
      sleep 1
    done
  ) &
  pids+=("$!")
  set +m
}

redis_port=$(free_port)
keep redis redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$DIR/data"

# What the learner is told by arguments holds for all of them.
settings=$DIR/cluster.toml
"$BIN/learner" train --print-config ${SETTINGS:+--config "$SETTINGS"} "$@" >"$settings"
export MAHRL__CLUSTER__RUN=$RUN MAHRL__CLUSTER__REDIS="redis://127.0.0.1:$redis_port"
export MAHRL__CLUSTER__LEARNER=redis MAHRL__CLUSTER__SHARDS='["redis"]'
export MAHRL__CLUSTER__LEARNER_LISTEN=127.0.0.1:0 MAHRL__CLUSTER__REPLAY_LISTEN=127.0.0.1:0
export MAHRL__REPLAY__SHARDS=$SHARDS MAHRL__REPLAY__DATA_DIR=$DIR/data

for ((k = 0; k < SHARDS; k++)); do keep "replay-$k" "$BIN/replay" --config "$settings" --shard "$k"; done
for ((k = 0; k < ACTORS; k++)); do keep "actor-$k" "$BIN/actor" --config "$settings" --name "actor-$k"; done
say "$SHARDS shards, $ACTORS actors; logs and process ids in $DIR/logs"

# learn ARGUMENTS...: the learner once, in a process group of its own; what it adds to its log is shown here. Its exit code.
learn() {
  local log=$DIR/logs/learner.log size learner status=0
  touch "$log"
  size=$(stat -c %s "$log")
  set -m
  "$BIN/learner" train --cluster --config "$settings" --run-dir "$DIR/run" "$@" >>"$log" 2>&1 &
  learner=$!
  set +m
  printf 'learner %s\n' "$learner" >>"$DIR/logs/pids"
  # It ends with the learner, after its last words.
  tail -c "+$((size + 1))" -s 0.2 -f --pid="$learner" "$log" &
  # Once more ends it at once. A signal also ends the wait, not more.
  local signalled=yes
  trap 'signalled=yes; kill -TERM "$learner" 2>/dev/null || true' INT TERM
  while [ -n "$signalled" ]; do
    signalled='' status=0
    wait "$learner" || status=$?
  done
  wait "$!" || true
  trap 'exit 130' INT TERM
  return "$status"
}

while true; do
  status=0
  learn "$@" || status=$?
  # 130: it was asked to end. Otherwise killed by hand, as any other: it goes on from its newest checkpoint.
  if ((status < 128 || status == 130)); then exit "$status"; fi
  say "the learner ended with status $status; starting it again"
done
