#!/usr/bin/env bash
# A convergence study on the cluster of kubectl's current context: the same run with different numbers of actors, one after
# the other, and the table and plots of `learner scale` over them (docs/scaling.md).
#
# In: ACTORS ("8 16 32"), STEPS of a row (3000000), OUT (runs/study), NAMESPACE (mahrl), PATIENCE (seconds for a row,
# 86400), k8s/ applied; kubectl, cargo. Out: OUT/actors-N, the run
# directory of each; OUT/scaling.html and the rest. Rows that are there are not run again. Afterwards the settings and the
# number of actors are what they were; the study's runs stay in the volumes under runs/study-N.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OUT=${OUT:-runs/study} NAMESPACE=${NAMESPACE:-mahrl} STEPS=${STEPS:-3000000} PATIENCE=${PATIENCE:-86400}
read -r -a counts <<<"${ACTORS:-8 16 32}"

say() { printf 'study: %s\n' "$*" >&2; }
k() { kubectl -n "$NAMESPACE" "$@"; }

# configure TEXT: the settings of the run.
configure() {
  python3 -c 'import json, sys; print(json.dumps({"data": {"mahrl.toml": sys.stdin.read()}}))' <<<"$1" |
    k patch configmap mahrl --type=merge --patch-file /dev/stdin >/dev/null
}

# begin N: everybody again under the settings of now, with N actors.
begin() {
  k scale deployment/actor --replicas=0 >/dev/null
  k rollout restart statefulset/replay deployment/learner deployment/evaluator >/dev/null
  k rollout status --timeout=10m statefulset/replay >/dev/null
  k rollout status --timeout=10m deployment/learner >/dev/null
  k rollout restart deployment/actor >/dev/null
  k scale deployment/actor --replicas="$1" >/dev/null
}

before=$(k get configmap mahrl -o 'jsonpath={.data.mahrl\.toml}')
replicas=$(k get deployment actor -o 'jsonpath={.spec.replicas}')
end() {
  local status=$?
  trap - EXIT INT TERM
  say "putting the settings and $replicas actors back"
  configure "$before" || true
  # Whatever does not become ready: the actors come back.
  begin "$replicas" || k scale deployment/actor --replicas="$replicas" >/dev/null || true
  exit "$status"
}

folders=()
missing=()
for n in "${counts[@]}"; do
  folders+=("$OUT/actors-$n")
  [ -f "$OUT/actors-$n/metrics.jsonl" ] || missing+=("$n")
done
if [ ${#missing[@]} -gt 0 ]; then
  trap end EXIT INT TERM
  mkdir -p "$OUT"
  for n in "${missing[@]}"; do
    run=study-$n
    say "$n actors, run $run"
    configure "$(sed -E "s|^run = .*|run = \"$run\"|; s|^data_dir = .*|data_dir = \"/data/$run\"|
      s|^steps = .*|steps = $STEPS|" <<<"$before")"
    begin "$n"
    # The learner says so once the last step is learned from and its table is written.
    begun=$SECONDS
    until k logs deployment/learner -c learner --tail=50 2>/dev/null | grep -q 'waiting for SIGTERM'; do
      if ((SECONDS - begun > PATIENCE)); then
        say "$run is not over after $PATIENCE s (PATIENCE): kubectl -n $NAMESPACE logs deployment/learner"
        exit 1
      fi
      sleep 15
    done
    pod=$(k get pods -l app.kubernetes.io/name=learner -o 'jsonpath={.items[0].metadata.name}')
    rm -rf "$OUT/.copy"
    kubectl cp -c learner "$NAMESPACE/$pod:/data/runs/$run" "$OUT/.copy" >/dev/null
    mv "$OUT/.copy" "$OUT/actors-$n"
  done
fi
joined=$(IFS=,; printf '%s' "${counts[*]}")
cargo run --release ${CARGO_FLAGS:-} -p learner -- scale --collect "${folders[@]}" --actors "$joined" --out "$OUT"
