#!/usr/bin/env bash
# Fills the Secret of the cluster in kubectl's current context from this machine, where the Job `secrets` cannot.
#
# In: NAMESPACE (mahrl); cargo, kubectl. Out: the Secret `mahrl-secrets` with fresh secrets, unless it has some: then
# nothing changes and the exit code is 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAMESPACE=${NAMESPACE:-mahrl} SECRET=mahrl-secrets
say() { printf 'k8s-secrets: %s\n' "$*" >&2; }

if [ -n "$(kubectl -n "$NAMESPACE" get secret "$SECRET" --ignore-not-found -o 'jsonpath={.data}')" ]; then
  say "$SECRET in $NAMESPACE is filled; it stays as it is. To replace it: kubectl -n $NAMESPACE patch secret $SECRET --type=json -p '[{\"op\":\"remove\",\"path\":\"/data\"}]', this again, then restart all pods"
  exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo run --quiet --release ${CARGO_FLAGS:-} -p replay -- secrets files --redis "redis.$NAMESPACE.svc" "$folder/secrets" >/dev/null
# Only what differs is sent: labels and annotations of the Secret stay.
kubectl -n "$NAMESPACE" create secret generic "$SECRET" --from-file="$folder/secrets" --dry-run=client -o json |
  python3 -c 'import json, sys; print(json.dumps({"data": json.load(sys.stdin)["data"]}))' >"$folder/patch.json"
kubectl -n "$NAMESPACE" patch secret "$SECRET" --type=merge --patch-file "$folder/patch.json"
