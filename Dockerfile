# The images of a cluster: --target replay, actor (no libtorch, no compiler), learner (CPU), learner-cuda (NVIDIA GPU).
#
#   docker build --target actor -t mahrl/actor:0.1.0 .                              builds from source
#   docker build --target actor -t mahrl/actor:0.1.0 --build-arg BINARIES=DIR .     takes programs that are built: no network
#
# `make images` does the second for all of them. DIR lies in this folder and holds `replay`, `actor`, `learner`
# (`learner-cuda`), and for the learner `libtorch/` (`libtorch-cuda/`), laid out like .libtorch of `make setup`, which is
# taken where DIR has none. Without BuildKit, too: every target needs the stages above it only.

ARG DEBIAN=debian:bookworm-slim
ARG RUST=rust:1.95-bookworm
ARG BINARIES=
# Programs that are built need no compiler around them.
ARG BUILDER=${BINARIES:+${DEBIAN}}

FROM ${BUILDER:-${RUST}} AS build
ARG BINARIES
ARG COMMIT=
# 1: for an NVIDIA GPU, with target learner-cuda, when building from source.
ARG CUDA=0
WORKDIR /src
COPY . .
RUN scripts/image-files.sh /out

FROM ${DEBIAN} AS base
ARG VERSION=0.1.0
ARG COMMIT=
ARG DEBIAN
# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
ENV MAHRL_LOG=json
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.base.name="${DEBIAN}"

FROM base AS replay
LABEL org.opencontainers.image.title="MaHRL replay" \
      org.opencontainers.image.description="One shard of the replay service"
COPY --from=build /out/replay /usr/local/bin/replay
EXPOSE 7410 9400
ENTRYPOINT ["/usr/local/bin/replay"]

FROM base AS actor
LABEL org.opencontainers.image.title="MaHRL actor" \
      org.opencontainers.image.description="Rolls out the policy and streams transitions"
COPY --from=build /out/actor /usr/local/bin/actor
EXPOSE 9400
ENTRYPOINT ["/usr/local/bin/actor"]

# The learner's probes are the actor's program: it starts without libtorch.
FROM base AS learner
LABEL org.opencontainers.image.title="MaHRL learner" \
      org.opencontainers.image.description="Learns, serves weights, evaluates; on the CPU"
COPY --from=build /out/libtorch /opt/libtorch
COPY --from=build /out/actor /out/learner /usr/local/bin/
ENV LD_LIBRARY_PATH=/opt/libtorch/torch/lib
EXPOSE 7400 9400
ENTRYPOINT ["/usr/local/bin/learner"]

FROM base AS learner-cuda
LABEL org.opencontainers.image.title="MaHRL learner for NVIDIA GPUs" \
      org.opencontainers.image.description="Learns, serves weights, evaluates; on a GPU"
COPY --from=build /out/libtorch-cuda /opt/libtorch
COPY --from=build /out/actor /usr/local/bin/actor
COPY --from=build /out/learner-cuda /usr/local/bin/learner
# What the NVIDIA container runtime shall bring in.
ENV LD_LIBRARY_PATH=/opt/libtorch/torch/lib NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
EXPOSE 7400 9400
ENTRYPOINT ["/usr/local/bin/learner"]
