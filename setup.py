"""Package metadata. It lives here, not in pyproject.toml, because colcon reads it from here."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "policy_runner"
MODEL_SUFFIXES = {".onnx", ".data", ".npz", ".json", ".xml", ".yaml", ".md", ".png"}


def shared_files() -> list[tuple[str, list[str]]]:
    """What goes to share/policy_runner, folder by folder (only `*.launch.py`: no caches)."""
    share = f"share/{NAME}"
    rows = [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (share, ["package.xml"]),
        (f"{share}/launch", sorted(glob("launch/*.launch.py"))),
        (f"{share}/config", sorted(glob("config/*.*"))),
        (f"{share}/config/systemd", sorted(glob("config/systemd/*.service"))),
    ]
    for folder in sorted(path for path in Path("models").rglob("*") if path.is_dir()):
        files = sorted(str(path) for path in folder.iterdir() if path.suffix in MODEL_SUFFIXES)
        rows.append((f"{share}/{folder.as_posix()}", files))
    return [(folder, files) for folder, files in rows if files]


TEST = ["pytest>=7", "pytest-rerunfailures", "pytest-timeout", "pytest-xdist", "hypothesis"]

setup(
    name=NAME,
    version="0.1.0",
    description="Runs a trained policy on a ROS 2 robot, at a fixed rate, safely and visibly.",
    long_description=Path("README.md").read_text("utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="policy_runner maintainers",
    maintainer_email="maintainers@policy-runner.example",
    url="https://policy-runner.example",
    project_urls={
        "Repository": "https://policy-runner.example/policy_runner",
        "Bug tracker": "https://policy-runner.example/policy_runner/issues",
    },
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "sim/*.xml", "sim/*.yaml", "sim/*.urdf"]},
    data_files=shared_files(),
    zip_safe=False,
    install_requires=[
        "setuptools",
        "numpy>=1.23",
        "pydantic>=2.5",
        "PyYAML>=5.4",
        "rich>=12",
    ],
    extras_require={
        # What runs the model: [cpu] or [gpu], never both, since they overwrite each other;
        # [tensorrt] in addition to one of them. A Jetson has other packages: docs/guides.
        "cpu": ["onnxruntime>=1.15"],
        "gpu": ["onnxruntime-gpu[cuda,cudnn]>=1.21"],
        "tensorrt": [
            "tensorrt-cu13>=10.13.2,<11; platform_machine == 'x86_64'",
            "cuda-bindings>=13,<14",
        ],
        "sim": ["mujoco>=3.4"],
        "images": ["Pillow>=9"],
        "opencv": ["opencv-python-headless>=4.5"],  # 50 MB, for policies trained with cv2.resize
        "recording": ["mcap>=1"],
        "replay": ["rosbags>=0.10"],
        # MIT, BSD and Apache-2.0; wheels for aarch64, Python 3.10 to 3.13. [serve] offers a policy,
        # [remote] has what a client of openpi's protocol needs (protocol v2 needs nothing).
        "serve": [
            "fastapi>=0.115",
            "uvicorn>=0.50",
            "httptools>=0.6.3",
            "websockets>=15",
            "msgpack>=1.0.5",
        ],
        "remote": ["websockets>=15", "msgpack>=1.0.5"],
        "urdf": ["urdf-parser-py>=0.0.4"],
        "plots": ["matplotlib>=3.5"],
        "lean": ["tensorrt-lean-cu13>=10.13", "cuda-bindings>=12.9"],  # 100 MB, to check names
        "export": ["onnx>=1.17", "onnxscript>=0.5.4", "onnxslim>=0.1.70", "torch>=2.9"],
        "train": ["stable-baselines3>=2.3", "torch", "gymnasium", "matplotlib", "onnx"],
        "test": TEST,
        "docs": ["sphinx>=7", "myst-parser>=3", "furo>=2024.1.29"],
    },
    entry_points={
        "console_scripts": [
            "policy_runner = policy_runner.ros.runner.main:main",
            "policy_runner_guard = policy_runner.ros.guard.main:main",
            "jetson_diagnostics = policy_runner.ros.sidecar.main:main",
            "simulated_robot = policy_runner.ros.simulated_robot.main:main",
            "policy-runner = policy_runner.cli.main:main",
        ],
    },
)
