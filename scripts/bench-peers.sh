#!/usr/bin/env bash
# Measures ours against peers from PyPI, turn by turn in one run (docs/benchmarks.md).
# `--only learner`, `actor`, `training`, `replay` or `goals` measures that part. PROFILE=dev measures binaries of the profile `dev` instead
# of `release`; PEERS_VENV and PEERS_VENV_REVERB name venvs that are there already; ROUNDS, TURN_SECONDS, TRAIN_STEPS, UPDATE_DOCS=1
# as in scripts/peers/run.py. INSTRUCTIONS=avx2 holds ours and PyTorch to what older CPUs have.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
folder=$([ "$profile" = dev ] && echo debug || echo "$profile")

# venv FOLDER REQUIREMENTS: prints the interpreter, or `-` and why not.
venv() {
    if [ ! -x "$1/bin/python" ]; then
        echo "bench-peers: installing $2 into $1" >&2
        if ! { python3 -m venv "$1" && "$1/bin/pip" install --quiet --requirement "scripts/peers/$2"; } >&2; then
            echo "bench-peers: $2 is not installable with $(python3 --version): its peers are left out" >&2
            rm -rf "$1"
            echo -
            return
        fi
    fi
    echo "$(cd "$1" && pwd)/bin/python"
}

case ${INSTRUCTIONS:-} in
    '') ;;
    # Ours; PyTorch's own kernels; MKL's and oneDNN's products. What torch.compile makes is written for AVX2 then, for whatever compiler.
    avx2) export MAHRL_INSTRUCTIONS=avx2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ;;
    *)
        echo "bench-peers: INSTRUCTIONS is $INSTRUCTIONS, expected avx2" >&2
        exit 2
        ;;
esac
python=$(venv "${PEERS_VENV:-target/peers-venv}" requirements.txt)
reverb=$(venv "${PEERS_VENV_REVERB:-target/peers-venv-reverb}" requirements-reverb.txt)
command -v redis-server >/dev/null || echo "bench-peers: redis-server is not on PATH (package redis-server): left out" >&2
command -v g++ >/dev/null || echo "bench-peers: no g++: torch.compile cannot be measured" >&2

echo "bench-peers: building the learner and the examples of profile $profile" >&2
cargo build ${CARGO_FLAGS:-} --workspace --profile "$profile" --bin learner --example peers --example peer_update --example peer_weights
# Compiled kernels of torch.compile are kept: the first run takes minutes longer.
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$PWD/target/peers-inductor}
exec python3 scripts/peers/run.py "${CARGO_TARGET_DIR:-$PWD/target}/$folder/examples" "$python" "$reverb" "$@"
