# policy_runner on JetPack 7.2 (Thor and Orin, CUDA 13.2, TensorRT 10.16): Ubuntu 24.04, ROS 2 Jazzy.
#   docker build --file docker/jetpack7.Dockerfile --tag policy_runner:jetpack7 .
# JetPack 7.0 and 7.1 (Thor): --build-arg CUDA=13-0 --build-arg TENSORRT='10.13.*+cuda13.0'
#   --build-arg CUDA_BINDINGS=13.0.3
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
# --system-site-packages: rclpy and TensorRT are modules of the system's Python.
ARG CUDA_BINDINGS=13.2.0
RUN python3 -m venv --system-site-packages /opt/policy_runner \
    && /opt/policy_runner/bin/pip install --no-cache-dir \
        --constraint requirements/pins.txt --constraint requirements/pins-distro.txt \
        numpy pydantic PyYAML rich Pillow mcap urdf-parser-py onnxruntime "cuda-bindings==${CUDA_BINDINGS}"
COPY . .
RUN /opt/policy_runner/bin/pip install --no-cache-dir --no-deps .

# --- the image that runs ---
FROM base
# The driver's libraries (libcuda) come from the host: --runtime nvidia.
ARG CUDA=13-2
ARG TENSORRT=10.16.2.10-1+cuda13.2
ADD https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/sbsa/cuda-keyring_1.1-1_all.deb \
    /tmp/cuda-keyring.deb
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && dpkg --install /tmp/cuda-keyring.deb \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        "cuda-cudart-${CUDA}" \
        "libnvinfer10=${TENSORRT}" \
        "libnvinfer-plugin10=${TENSORRT}" \
        "libnvonnxparsers10=${TENSORRT}" \
        "python3-libnvinfer=${TENSORRT}" \
    && rm -rf /tmp/cuda-keyring.deb /var/lib/apt/lists/*
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
