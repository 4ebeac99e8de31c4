"""Reads an MJCF or URDF into an editable `MjSpec`, and says in one sentence why it cannot."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco

from policy_runner.core.errors import Problem, Refusal, refuse
from policy_runner.core.files.bounded import MIB, read_bounded
from policy_runner.sim.robot_file.robot_reader import RobotFile

MOST_MODEL = 16 * MIB
_MISSING_FILE = re.compile(r"[Ee]rror opening file '([^']*)'|could not open .*'([^']*)'")
_DECLARATION = re.compile(r"^\ufeff?\s*<\?xml[^>]*\?>")
_MESHES = (".stl", ".obj", ".msh", ".dae")
NO_MESHES = "correct the path, or use --no-meshes (model.meshes: false)"


def read_model(robot: RobotFile) -> mujoco.MjSpec:
    """Read the model of a robot; the compiler has not seen it yet.

    A URDF keeps its links: links that a fixed joint connects are not fused.

    Raises:
        Refusal: the file is no MJCF or URDF, contains a document type or entities, includes a
            file outside its folder, or is a URDF with a moving link without inertia.
    """
    path = robot.model_path
    root = _parse(path)
    _check_includes(root, path, path, set())
    if root.tag == "robot":
        _check_inertias(root, path)
    elif root.tag != "mujoco":
        raise refuse(str(path), "", "an MJCF (<mujoco>) or a URDF (<robot>)", f"<{root.tag}>")
    try:
        if root.tag == "robot":
            # MuJoCo 3.4 does not read a .urdf from a file.
            spec = mujoco.MjSpec.from_string(_urdf_text(root, robot.spec.model.meshes))
            spec.modelfiledir = str(path.resolve().parent)
        else:
            spec = mujoco.MjSpec.from_file(str(path))
    except Exception as error:  # the bindings raise ValueError, and others by mistake
        raise model_refusal(path, error) from error
    if root.tag == "robot":
        spec.compiler.fusestatic = False
    if not robot.spec.model.meshes:
        _drop_meshes(spec)
    return spec


def model_refusal(path: Path, error: Exception) -> Refusal:
    """The refusal of a model that MuJoCo does not load or compile."""
    text = " ".join(str(error).split())
    missing = _MISSING_FILE.search(text)
    if missing:
        name = missing[1] or missing[2]
        mesh = Path(name).suffix.lower() in _MESHES
        key, remedy = ("mesh", NO_MESHES) if mesh else ("file", "correct the path")
        return refuse(str(path), key, f"the file '{name}'", "no such file", remedy)
    if "mass and inertia of moving bodies" in text:
        expected = "a mass and an inertia of every moving body"
        return refuse(str(path), "", expected, text, "add <inertial>, or geoms with a mass")
    text = text.removeprefix("Error: ")
    return refuse(str(path), "", "a model that MuJoCo loads", text)


def _parse(path: Path) -> ElementTree.Element:
    content = read_bounded(path, MOST_MODEL, "an MJCF or a URDF")
    try:
        # Another encoding would hide a document type from the check below.
        text = _DECLARATION.sub("", content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise refuse(str(path), "", "an MJCF or a URDF in UTF-8", str(error)) from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # The XML library would expand entities and read the files that they name.
        raise refuse(str(path), "", "a model without a document type or entities", "one with them")
    try:
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise refuse(str(path), "", "an MJCF or a URDF", f"no XML ({error})") from error


def _check_includes(root: ElementTree.Element, path: Path, main: Path, seen: set[Path]) -> None:
    """Refuse models outside the folder of the main file; MuJoCo would read any file.

    `<include>` inserts a file; `<model>` of the assets is one that `<attach>` may use.
    """
    folder = main.resolve().parent
    # An included file may have a `<model>` outside of any `<asset>`. Elsewhere it has no file.
    models = [one for one in root.iter("model") if "file" in one.attrib]
    for element in (*root.iter("include"), *models):
        name = element.get("file", "")
        try:
            target = (folder / name).resolve()
        except (OSError, ValueError) as error:
            raise refuse(str(path), element.tag, "a file name", repr(name)[:80]) from error
        if not target.is_relative_to(folder):
            raise refuse(str(path), element.tag, f"a file inside {folder}", name)
        if target in seen:
            continue
        seen.add(target)
        if not target.is_file():
            raise refuse(str(path), element.tag, f"the file '{name}'", "no such file")
        _check_includes(_parse(target), target, main, seen)


def _check_inertias(root: ElementTree.Element, path: Path) -> None:
    """Refuse moving links without inertia: MuJoCo would take the mass of water for their geoms."""
    carrier: dict[str, str] = {}  # link -> link that carries it by a fixed joint
    moving: list[str] = []
    for joint in root.iter("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if parent is None or child is None:
            continue
        name = child.get("link", "")
        if joint.get("type") == "fixed":
            carrier[name] = parent.get("link", "")
        else:
            moving.append(name)
    heavy = set()
    for link in root.iter("link"):
        inertial = link.find("inertial")
        if inertial is not None and inertial.find("mass") is not None:
            name = link.get("name", "")
            for _ in range(len(carrier) + 1):
                heavy.add(name)
                if name not in carrier:
                    break
                name = carrier[name]
    light = [name for name in moving if name not in heavy]
    if light:
        problem = Problem(
            str(path),
            "link",
            "an <inertial> with a <mass> in every moving link",
            f"none in {', '.join(light)}",
        )
        raise Refusal([problem])


def _urdf_text(root: ElementTree.Element, meshes: bool) -> str:
    for link in root.iter("link") if not meshes else ():
        for part in [one for one in link if one.find("geometry/mesh") is not None]:
            link.remove(part)
    return ElementTree.tostring(root, encoding="unicode")


def _drop_meshes(spec: mujoco.MjSpec) -> None:
    for geom in [one for one in spec.geoms if one.meshname]:
        spec.delete(geom)
    for mesh in list(spec.meshes):
        spec.delete(mesh)
