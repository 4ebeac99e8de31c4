# policy_runner on JetPack 6 (Orin, L4T R36.4, CUDA 12.6, TensorRT 10.3): Ubuntu 22.04, ROS 2 Humble.
#   docker build --file docker/jetpack6.Dockerfile --tag policy_runner:jetpack6 .
# It was linted, and never built by us: see docs/guides/containers.md.
FROM ros:humble-ros-core-jammy AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# --- build: the virtual environment with this package ---
FROM base AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/pins.txt requirements/pins-distro.txt requirements/
# --system-site-packages: rclpy and TensorRT are modules of the system's Python.
RUN python3 -m venv --system-site-packages /opt/policy_runner \
    && /opt/policy_runner/bin/pip install --no-cache-dir \
        --constraint requirements/pins.txt --constraint requirements/pins-distro.txt \
        numpy pydantic PyYAML rich Pillow mcap urdf-parser-py onnxruntime "cuda-bindings==12.9.10"
COPY . .
RUN /opt/policy_runner/bin/pip install --no-cache-dir --no-deps .

# --- the image that runs ---
FROM base
# The driver's libraries (libcuda, libnvdla_compiler, libcudla) come from the host: --runtime nvidia.
ARG L4T=r36.4
ARG TENSORRT=10.3.0.30-1+cuda12.5
ADD --chmod=644 https://repo.download.nvidia.com/jetson/jetson-ota-public.asc \
    /usr/share/keyrings/nvidia-jetson.asc
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && echo "deb [signed-by=/usr/share/keyrings/nvidia-jetson.asc]" \
        "https://repo.download.nvidia.com/jetson/common ${L4T} main" \
        > /etc/apt/sources.list.d/nvidia-jetson.list \
    && apt-get update \
    && apt-get install --yes --no-install-recommends \
        cuda-cudart-12-6 \
        "libnvinfer10=${TENSORRT}" \
        "libnvinfer-plugin10=${TENSORRT}" \
        "libnvonnxparsers10=${TENSORRT}" \
        "python3-libnvinfer=${TENSORRT}" \
    && rm -rf /var/lib/apt/lists/*
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
