# policy_runner on an x86 or ARM computer: Ubuntu 24.04, ROS 2 Jazzy, ONNX Runtime on the CPU.
#   docker build --file docker/x86.Dockerfile --tag policy_runner:x86 .
# With an NVIDIA GPU (CUDA 13, cuDNN and their libraries from PyPI, some 2 GB):
#   --build-arg RUNTIME='onnxruntime-gpu[cuda,cudnn]==1.31.1'
# It was linted, and never built by us: see docs/guides/containers.md.
FROM ros:jazzy-ros-core-noble AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# --- build: the virtual environment with this package ---
FROM base AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/pins.txt requirements/pins-distro.txt requirements/
# --system-site-packages: rclpy is a module of the system's Python.
ARG RUNTIME=onnxruntime
RUN python3 -m venv --system-site-packages /opt/policy_runner \
    && /opt/policy_runner/bin/pip install --no-cache-dir \
        --constraint requirements/pins.txt --constraint requirements/pins-distro.txt \
        numpy pydantic PyYAML rich Pillow mcap urdf-parser-py "${RUNTIME}"
COPY . .
RUN /opt/policy_runner/bin/pip install --no-cache-dir --no-deps .

# --- the image that runs ---
FROM base
COPY --from=build /opt/policy_runner /opt/policy_runner
COPY docker/entrypoint.sh /usr/local/bin/entrypoint.sh
# A user of its own, and its private folder for TensorRT engines, which are executable code.
RUN useradd --uid 10001 --create-home policy \
    && install --directory --owner policy --group policy --mode 0700 /var/cache/policy_runner
ENV PATH=/opt/policy_runner/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROS_LOG_DIR=/tmp/ros_log \
    XDG_CACHE_HOME=/var/cache
VOLUME /var/cache/policy_runner
USER 10001
# SIGINT ends the runner first; its last command leaves within 2 s.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["doctor"]
