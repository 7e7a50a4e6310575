#!/usr/bin/env bash
# Says where a run's report lies, and opens it where there is a screen. In: a run directory (default: the newest in runs/).
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  report="${1%/}/report.html"
else
  report=''
  for candidate in runs/*/report.html; do
    if [ -z "$report" ] || [ "$candidate" -nt "$report" ]; then report=$candidate; fi
  done
fi
if [ ! -f "$report" ]; then
  if [ -n "$report" ]; then missing="$report does not exist"; else missing='there is no runs/*/report.html yet'; fi
  echo "report: $missing; a run writes it at its end: make train" >&2
  exit 1
fi
echo "report: $PWD/$report"
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open >/dev/null; then xdg-open "$report" >/dev/null 2>&1 & fi
