# For Docker or Podman: make image, or make image DEVICE=cuda. docs/image.md says how it is run.
ARG DEVICE=cpu

FROM python:3.11-slim-bookworm AS base
# The libraries are those that the Makefile looks for.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make libusb-1.0-0 libegl1 libgl1 libx11-6 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /oneview
# By themselves, so that a change of code does not install 6 GB again.
COPY requirements.lock ./
RUN python -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir $(grep '^uv==' requirements.lock) \
    && .venv/bin/uv pip sync --no-cache --python .venv/bin/python requirements.lock
COPY . ./
RUN .venv/bin/uv pip install --no-cache --python .venv/bin/python --offline --no-deps --no-build-isolation --editable . \
    && .venv/bin/python -c 'import open3d, torch, pytorch3d._C' \
    && touch .venv/ready
ENV PATH=/oneview/.venv/bin:$PATH HOME=/tmp
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["oneview"]
CMD ["--help"]

FROM base AS cpu
ENV ONEVIEW_DEVICE=cpu

# PyTorch's wheels bring CUDA along; the host gives its driver.
FROM base AS cuda
ENV ONEVIEW_DEVICE=auto NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM ${DEVICE}
