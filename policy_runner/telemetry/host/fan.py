"""Fan: its drive and its speed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policy_runner.telemetry.host_files import HostFiles, Reading, missing
from policy_runner.telemetry.verdict import ERROR, OK, Verdict

_OLD = "sys/devices/pwm-fan"
_CONF = "etc/nvfancontrol.conf"
_PROFILE = re.compile(r"^\s*FAN_DEFAULT_PROFILE\s+(\w+)", re.MULTILINE)
_STALL_S = 10.0
_FULL = 255.0
_LOOK_AGAIN = 30


@dataclass(frozen=True)
class FanReading:
    """Drive [%], speed [1/min], and the time that it has been driven without turning [s]."""

    drive: Reading
    rpm: Reading
    enabled: Reading
    stalled_s: float = 0.0
    profile: str = ""  # nvfancontrol's default profile, such as "quiet" or "cool"

    @property
    def stalled(self) -> bool:
        """Whether the fan is stalled: only after 10 s, because the speed lags the drive."""
        return self.stalled_s > _STALL_S


class FanReader:
    """Finds drive and tachometer (separate hwmon chips on a Jetson) and detects a stall."""

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._drive = self._rpm = self._enable = self._profile = ""
        self._reads_left = 0
        self._still_ns: int | None = None

    def read(self, now_ns: int) -> FanReading:
        """Take a sample."""
        if self._reads_left <= 0:
            self._find()
            self._reads_left = _LOOK_AGAIN
        self._reads_left -= 1
        number = self._files.number
        drive = number(self._drive, 100.0 / _FULL) if self._drive else missing("no fan output")
        rpm = number(self._rpm) if self._rpm else missing("no tachometer")
        enabled = number(self._enable) if self._enable else missing("not reported")
        # pwm1_enable 0 means that the output is off; pwm1 has no effect then.
        if drive.value and rpm.value == 0 and enabled.value != 0:
            self._still_ns = now_ns if self._still_ns is None else self._still_ns
        else:
            self._still_ns = None
        still = 0.0 if self._still_ns is None else (now_ns - self._still_ns) / 1e9
        return FanReading(drive, rpm, enabled, still, self._profile)

    def _find(self) -> None:
        files = self._files
        # The running profile (`nvfancontrol -q`) needs root; the file is what the service starts.
        found = _PROFILE.search(files.text_or(_CONF))
        self._profile = found[1] if found else ""
        for base in files.glob("sys/class/hwmon/hwmon*"):
            if not self._drive and files.exists(f"{base}/pwm1"):
                self._drive = f"{base}/pwm1"
                if files.exists(f"{base}/pwm1_enable"):
                    self._enable = f"{base}/pwm1_enable"
            for name in ("rpm", "fan1_input"):
                if not self._rpm and files.exists(f"{base}/{name}"):
                    self._rpm = f"{base}/{name}"
        if not self._drive and files.exists(f"{_OLD}/cur_pwm"):
            self._drive = f"{_OLD}/cur_pwm"
        if not self._rpm and files.exists(f"{_OLD}/rpm_measured"):
            self._rpm = f"{_OLD}/rpm_measured"


def judge_fan(reading: FanReading) -> Verdict:
    """Return the verdict for a sample: ERROR if the fan is driven and does not turn."""
    values: dict[str, object] = {
        "drive [%]": reading.drive.shown,
        "speed [1/min]": reading.rpm.shown,
        "output enabled": reading.enabled.shown,
        "profile": reading.profile or "n/a",
    }
    if reading.drive.value is None:
        return Verdict(OK, f"fan n/a: {reading.drive.reason}", values)
    drive = f"{reading.drive.value:.0f} %"
    if reading.stalled:
        message = f"fan driven at {drive} stands still for {reading.stalled_s:.0f} s"
        return Verdict(ERROR, message, values)
    speed = "" if reading.rpm.value is None else f", {reading.rpm.value:.0f} rpm"
    return Verdict(OK, drive + speed, values)
