#!/usr/bin/env python3
"""A trial of k8s/ on the cluster of kubectl's current context: launched, watched, scaled, broken and taken away again.

In: kubectl with a cluster that has the images and volumes (docs/kubernetes.md), and no namespace `mahrl`; MANIFESTS (a
folder of manifests, k8s), READY (seconds from apply until all pods are, 120), PATIENCE (a factor on all other limits, 1).
Out: a line for each thing that should happen, with what was seen; exit code 1 if any did not. Takes some six minutes. The
namespace is deleted at the end, with all that it holds; where not all pods become Ready, everything is left to be looked at.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

NAMESPACE = "mahrl"
MANIFESTS = os.environ.get("MANIFESTS", "k8s")
PATIENCE = float(os.environ.get("PATIENCE", "1"))
READY_SECONDS = float(os.environ.get("READY", "120"))
# Who may open a connection to whom: the arrows of the design, by port.
ARROWS = {
    ("replay", "redis", 6379),
    ("learner", "redis", 6379),
    ("actor", "redis", 6379),
    ("evaluator", "redis", 6379),
    ("learner", "replay", 7410),
    ("actor", "replay", 7410),
    ("actor", "learner", 7400),
    ("evaluator", "learner", 7400),
}
PORTS = [("redis", 6379), ("replay", 7410), ("replay", 9400), ("learner", 7400), ("learner", 9400), ("actor", 9400)]

failures = []


def kubectl(*arguments, check=True, timeout=600, namespace=True):
    command = ["kubectl", *(["-n", NAMESPACE] if namespace else []), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def see(what, good, seen=""):
    """A line of the result."""
    print(f"{'ok    ' if good else 'FAILED'}  {what}{': ' if seen else ''}{seen}", flush=True)
    if not good:
        failures.append(what)


def until(what, seconds, look):
    """Looks every two seconds until there is something, and says how long it took; `None` if there never was."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        try:
            seen = look()
        except (RuntimeError, subprocess.TimeoutExpired, OSError, LookupError):
            seen = None  # not there yet: a pod, a line, the API server
        if seen:
            see(what, True, f"{seen if isinstance(seen, str) else ''} after {time.monotonic() - begun:.0f} s".strip())
            return seen
        time.sleep(2)
    see(what, False, f"not within {seconds:.0f} s")
    return None


def pods(role=None):
    """The pods that are not about to go; without the Job's, which ends."""
    selector = f"app.kubernetes.io/name={role}" if role else "app.kubernetes.io/name!=secrets"
    found = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def name(pod):
    return pod["metadata"]["name"]


def all_ready(count=None):
    now = pods()
    if now and all(map(is_ready, now)) and (count is None or len(now) == count):
        return f"{len(now)} pods"
    return None


def lines(role, message, since="10m", pod=None):
    """The fields of the log's lines with that message, of a pod or the last of this role."""
    text = kubectl("logs", pod or name(pods(role)[-1]), "-c", role, f"--since={since}")
    fields = []
    for line in text.splitlines():
        try:
            record = json.loads(line)["fields"]
        except (ValueError, KeyError):
            continue
        if record.get("message") == message:
            fields.append(record)
    return fields


def step():
    """The environment steps of the learner's last line."""
    training = lines("learner", "training")
    return training[-1]["env_steps"] if training else 0


def rate(seconds):
    """Environment steps a second over that long, by the learner's lines."""
    fields = lines("learner", "training", f"{seconds}s")
    return sum(f["steps_per_second"] for f in fields) / len(fields) if fields else 0.0


def size(shard):
    """The transitions that a shard holds, by its metrics."""
    forward = subprocess.Popen(
        ["kubectl", "-n", NAMESPACE, "port-forward", shard, ":9400"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        listening = re.search(r":(\d+) ->", forward.stdout.readline())
        if not listening:
            raise RuntimeError(f"kubectl port-forward {shard}: {forward.stderr.read().strip()}")
        port = listening[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        forward.terminate()
        forward.wait()
    return int(sum(float(v) for v in re.findall(r"^mahrl_replay_size\{[^}]*\} (\S+)$", text, re.M)))


def launch():
    """Whether all pods came."""
    kubectl("apply", "-f", MANIFESTS, namespace=False)
    if not until("all pods are Ready", READY_SECONDS, all_ready):
        return False
    containers = [c for pod in pods() for c in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]
    held = all(
        not (context := c["securityContext"]).get("privileged") and context["readOnlyRootFilesystem"] for c in containers
    )
    users = {pod["spec"]["securityContext"]["runAsUser"] for pod in pods()}
    see("no pod is privileged or root", held and 0 not in users, f"users {sorted(users)}")
    return True


def train():
    until("the learner takes steps", 120 * PATIENCE, lambda: lines("learner", "training") and f"{step():,}")
    until("and updates", 240 * PATIENCE, lambda: lines("learner", "training")[-1]["updates"] > 0)
    before = step()
    until("its step rises", 60 * PATIENCE, lambda: step() > before and f"{before:,} to {step():,}")

    def rises():
        rewards = [f["reward"] for f in lines("evaluator", "evaluated", "1h")]
        return len(rewards) > 1 and rewards[-1] > rewards[0] and f"{rewards[0]:.2f} to {rewards[-1]:.2f} of {len(rewards)}"

    until("the evaluator's reward rises", 600 * PATIENCE, rises)


def arrows():
    """Every role tries every port; `bash` of the image opens the connections."""
    addresses = {role: pods(role)[0]["status"]["podIP"] for role, _ in PORTS}
    wrong = []
    for role in ("replay", "learner", "actor", "evaluator"):
        pod = name(pods(role)[0])
        for to, port in PORTS:
            if to == role:
                continue
            attempt = f"timeout 3 bash -c '</dev/tcp/{addresses[to]}/{port}' 2>/dev/null && echo open || echo closed"
            reached = "open" in kubectl("exec", pod, "-c", role, "--", "bash", "-c", attempt)
            if reached != ((role, to, port) in ARROWS):
                wrong.append(f"{role} to {to}:{port} is {'open' if reached else 'closed'}")
        attempt = "timeout 3 bash -c '</dev/tcp/kubernetes.default.svc/443' 2>/dev/null && echo open || echo closed"
        if "open" in kubectl("exec", pod, "-c", role, "--", "bash", "-c", attempt):
            wrong.append(f"{role} to the API server is open")
    see("pods reach what the arrows allow, and nothing else", not wrong, "; ".join(wrong))


def generations():
    """How often the API server has seen another StatefulSet asked for."""
    return [item["metadata"]["generation"] for item in json.loads(kubectl("get", "statefulsets", "-o", "json"))["items"]]


def again():
    before = generations()
    said = kubectl("apply", "-f", MANIFESTS, namespace=False).splitlines()
    # Servers before 1.34 write a `creationTimestamp: null` into the templates of claims: kubectl then sends what changes nothing.
    changed = [line for line in said if not line.endswith("unchanged") and not line.startswith("statefulset")]
    see("a second apply changes nothing", not changed and generations() == before, "; ".join(changed))


def scale():
    before = rate(60)
    kubectl("scale", "deployment/actor", "--replicas=4")
    until("four actors are Ready", 120 * PATIENCE, lambda: sum(map(is_ready, pods("actor"))) == 4)
    time.sleep(60)
    after = rate(40)
    see("their insert rate is higher", after > before, f"{before:,.0f} to {after:,.0f} steps/s")
    again()
    see("which leaves their number alone", len(pods("actor")) == 4)


def recover():
    """Each pod in turn is deleted."""
    for role in ("actor", "evaluator", "replay", "redis", "learner"):
        pod, count = name(pods(role)[0]), len(pods())
        held = size(pod) if role == "replay" else 0
        kubectl("delete", "pod", pod, "--wait=true")
        until(f"{pod} deleted: all are Ready again", 180 * PATIENCE, lambda n=count: all_ready(n))
        before = step()
        until("and the learner's step goes on", 120 * PATIENCE, lambda s=before: step() > s and f"{s:,} to {step():,}")
        if role == "replay":
            ready = lines("replay", "ready", pod=pod) or [{"low": 0, "high": 0}]
            recovered = ready[-1]["low"] + ready[-1]["high"]
            see("with what the shard held", recovered >= held, f"{held:,} rows before, {recovered:,} after")


def restart():
    before = step()
    kubectl("rollout", "restart", "deployment/learner")
    kubectl("rollout", "status", "deployment/learner", "--timeout=180s")
    resumed = until("a restarted learner goes on from a checkpoint", 60 * PATIENCE, lambda: lines("learner", "going on from a checkpoint"))
    if resumed:
        at = resumed[-1]["env_steps"]
        see("at its step", at >= before, f"{before:,} before, {at:,} after")


def remove():
    kubectl("delete", "-f", MANIFESTS, "--wait=true", namespace=False)
    left = kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name", namespace=False)
    left += kubectl("get", "priorityclass", "-l", "app.kubernetes.io/part-of=mahrl", "-o", "name", namespace=False)
    see("delete leaves nothing but volumes", not left, left)


def main():
    os.chdir(Path(__file__).resolve().parent.parent)
    if kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name", namespace=False):
        sys.exit(f"k8s-trial: there is a namespace {NAMESPACE} in this cluster, and a trial ends with deleting it: nothing was done")
    if not launch():
        sys.exit(f"k8s-trial: left as it is: kubectl -n {NAMESPACE} describe pods; then kubectl delete -f {MANIFESTS}")
    train()
    arrows()
    again()
    scale()
    recover()
    restart()
    remove()
    print(f"{len(failures)} failed" if failures else "all as it should be")
    sys.exit(bool(failures))


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, FileNotFoundError) as error:
        sys.exit(f"k8s-trial: {error}")
