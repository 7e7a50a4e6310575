#!/usr/bin/env bash
# A cluster on this machine, of real processes: redis-server, replay shards, actors, and the learner in front.
#
# In: ACTORS, SHARDS, RUN (a name), SETTINGS (a TOML file to start from), PROFILE (release, dev); arguments go to the
# learner. Out: runs/RUN with logs/, data/ and the learner's files; the learner's exit code. Kill any of the processes
# meanwhile: those listed in runs/RUN/logs/pids may be killed by hand, and are started again here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ACTORS=${ACTORS:-4} SHARDS=${SHARDS:-3} RUN=${RUN:-local} PROFILE=${PROFILE:-release}
readonly DIR=runs/$RUN BIN=${CARGO_TARGET_DIR:-target}/${PROFILE/dev/debug}

say() { printf 'cluster-local: %s\n' "$*" >&2; }

for program in redis-server python3; do
  if ! command -v "$program" >/dev/null; then
    say "$program is missing: apt-get install $program"
    exit 1
  fi
done
say "building replay, actor and learner ($PROFILE)"
# The whole workspace, as every other target: features do not change, nothing is built twice.
cargo build --workspace --bins --profile "$PROFILE" ${CARGO_FLAGS:-}

mkdir -p "$DIR/logs" "$DIR/data"
: >"$DIR/logs/pids"
pids=()
end() {
  trap - EXIT INT TERM
  say 'ending actors, shards and redis'
  # Watchers first: they would start the others again.
  for pid in "${pids[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
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

settings=$DIR/cluster.toml
{
  [ -z "${SETTINGS:-}" ] || cat "$SETTINGS"
} >"$settings"
export MAHRL__CLUSTER__RUN=$RUN MAHRL__CLUSTER__REDIS="redis://127.0.0.1:$redis_port"
export MAHRL__CLUSTER__LEARNER=redis MAHRL__CLUSTER__SHARDS='["redis"]'
export MAHRL__CLUSTER__LEARNER_LISTEN=127.0.0.1:0 MAHRL__CLUSTER__REPLAY_LISTEN=127.0.0.1:0
export MAHRL__REPLAY__SHARDS=$SHARDS MAHRL__REPLAY__DATA_DIR=$DIR/data

for ((k = 0; k < SHARDS; k++)); do keep "replay-$k" "$BIN/replay" --config "$settings" --shard "$k"; done
for ((k = 0; k < ACTORS; k++)); do keep "actor-$k" "$BIN/actor" --config "$settings" --name "actor-$k"; done
say "$SHARDS shards, $ACTORS actors; logs and process ids in $DIR/logs"
while true; do
  status=0
  "$BIN/learner" train --cluster --config "$settings" --run-dir "$DIR/run" "$@" || status=$?
  # Killed by hand, as any other: it goes on from its newest checkpoint.
  [ "$status" -eq 137 ] || exit "$status"
  say 'the learner was killed; starting it again'
done
