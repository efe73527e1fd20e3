# syntax=docker/dockerfile:1.7
#
# Workers and runs of the pool `gpu`. PyTorch brings CUDA along; the driver comes from the machine
# (NVIDIA Container Toolkit).
# From the root of the repository:
#   docker build --file deployments/containers/gpu.Dockerfile --tag segmill-gpu:0.1.0 .

FROM ghcr.io/astral-sh/uv:0.12.22 AS uv

FROM python:3.12.15-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
# sam2 comes as source, which needs no compiler without its CUDA part.
ENV SAM2_BUILD_CUDA=0 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
WORKDIR /opt/segmill
COPY pyproject.toml requirements.txt ./
# requirements.txt says which version of each; what only tests need is left out.
RUN uv venv "$VIRTUAL_ENV" \
    && uv pip install --constraint requirements.txt --requirement pyproject.toml
COPY README.md LICENSE ./
COPY app app
COPY configs configs
COPY deployments deployments
COPY examples examples
COPY flows flows
COPY models models
COPY storage storage
COPY tasks tasks
COPY vision vision
COPY prefect.yaml ./
# Installed where it lies: configs/ and models/ are found from there.
RUN uv pip install --no-deps --editable .

FROM python:3.12.15-slim-bookworm
# Triton, which SEGMILL_COMPILE uses, compiles C when it starts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin segmill \
    && install --directory --owner segmill /data
COPY --from=build /opt/venv /opt/venv
# Belongs to root: a run cannot change the code of the next one.
COPY --from=build /opt/segmill /opt/segmill
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    MALLOC_ARENA_MAX=2 \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /opt/segmill
USER 10001
# Docker and Kubernetes pools put the command of a run in its place.
CMD ["prefect", "worker", "start", "--pool", "gpu", "--with-healthcheck"]
