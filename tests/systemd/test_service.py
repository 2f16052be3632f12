"""install.sh and the service it installs, on a Debian 12 with a real systemd."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd.machine import SOURCE, TIMEOUT_S, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(1200)]

NODE = "kitchen"
SAMPLE = SOURCE / "serd" / "audio" / "data" / "sample.ogg"
CONFIG = "/etc/serd/config.yaml"
INSTALL_S = 900.0


@pytest.fixture(scope="module")
def pristine(machine: Machine) -> set[str]:
    """The machine's files before serd is installed."""
    return _files(machine)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A Debian 12 where nothing is installed yet."""
    with Machine("debian-install") as booted:
        yield booted


@pytest.fixture(scope="module")
def installed(machine: Machine, pristine: set[str]) -> Machine:
    """The same machine after install.sh, with the sample as its source."""
    assert {path for path in pristine if _is_ours(path)} == set()
    started_s = time.monotonic()
    done = machine.run(
        str(SOURCE / "install.sh"), "--yes", "--node", NODE, "--source", str(SAMPLE),
        "--broker", f"127.0.0.1:{machine.broker_port}", timeout=INSTALL_S,
    )  # fmt: skip
    print(done.stdout)
    print(f"installed in {time.monotonic() - started_s:.0f} s;", _size(machine))
    return machine


def _size(machine: Machine) -> str:
    return machine.run("du", "-sh", "/opt/serd").stdout.strip()


def _files(machine: Machine) -> set[str]:
    listed = machine.run(
        "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path",
        str(SOURCE), "-o", "-path", "/root/.cache", "-o", "-path", "/tmp", ")", "-prune",
        "-o", "-print", check=False,
    )  # fmt: skip
    return set(listed.stdout.splitlines())


def _is_ours(path: str) -> bool:
    return re.search(r"/_?serd\b", path) is not None


def _history(machine: Machine) -> list[dict[str, Any]]:
    done = machine.run("runuser", "-u", "serd", "--", "serd", "history", "--json")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _pid(machine: Machine) -> int:
    return int(machine.show("MainPID"))


def _set_up(machine: Machine, *options: str) -> None:
    """Change settings and wait for the new process."""
    before = _pid(machine)
    machine.run("serd-setup", *options)
    _wait_active(machine, after=before)


def _wait_active(machine: Machine, *, after: int = 0, timeout: float = TIMEOUT_S) -> None:
    """Wait until the service is active with a process other than ``after``."""
    machine.wait_until(
        lambda: machine.show("ActiveState") == "active" and _pid(machine) not in {0, after},
        "serd to be active",
        timeout,
    )


def test_is_active_once_it_is_ready(installed: Machine) -> None:
    assert installed.show("ActiveState") == "active"
    assert installed.show("Type") == "notify"
    assert installed.show("StatusText").startswith("listening")
    journal = installed.journal()
    ready = next(i for i, line in enumerate(journal) if line.startswith("ready after"))
    started = next(i for i, line in enumerate(journal) if line.startswith("Started serd"))
    assert ready < started
    assert installed.run("systemctl", "is-enabled", "serd").stdout.strip() == "enabled"


def test_runs_as_its_own_user_in_a_sandbox(installed: Machine) -> None:
    status = installed.run("cat", f"/proc/{_pid(installed)}/status").stdout
    fields = dict(line.split(":", 1) for line in status.splitlines())
    user = installed.run("id", "-u", "serd").stdout.strip()
    audio = installed.run("getent", "group", "audio").stdout.split(":")[2]
    assert fields["Uid"].split() == [user] * 4
    assert audio in fields["Groups"].split()
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Seccomp"].strip() == "2"
    assert installed.show("Nice") == "5"
    print("peak resident memory:", fields["VmHWM"].strip())


def test_security_exposure(installed: Machine) -> None:
    output = installed.run("systemd-analyze", "security", "--no-pager", "serd").stdout
    figure = re.search(r"Overall exposure level for serd.service: ([0-9.]+)", output)
    assert figure is not None
    print("systemd-analyze security: exposure", figure[1])
    assert float(figure[1]) <= 2.0


def test_systemd_verifies_the_unit(installed: Machine) -> None:
    assert installed.run("systemd-analyze", "verify", "serd.service").stdout == ""


def test_events_reach_the_broker(installed: Machine) -> None:
    event = json.loads(installed.events(NODE)[0])
    assert event["node"] == NODE
    assert sum(event["scores"].values()) == pytest.approx(1.0, abs=0.01)


def test_restarts_after_a_crash_and_loses_no_events(installed: Machine) -> None:
    installed.events(NODE)
    before = _pid(installed)
    restarts = int(installed.show("NRestarts"))
    started_s = time.monotonic()
    installed.run("systemctl", "kill", "--signal=SIGKILL", "serd")
    _wait_active(installed, after=before)
    print(f"active again {time.monotonic() - started_s:.1f} s after SIGKILL")
    assert int(installed.show("NRestarts")) == restarts + 1
    installed.events(NODE)
    numbers = [event["seq"] for event in _history(installed)]
    assert len(numbers) >= 2
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_the_watchdog_restarts_a_process_that_hangs(installed: Machine) -> None:
    before = _pid(installed)
    started_s = time.monotonic()
    installed.run("kill", "-STOP", str(before))
    _wait_active(installed, after=before, timeout=180)
    print(f"active again {time.monotonic() - started_s:.1f} s after SIGSTOP")
    assert any("Watchdog timeout" in line for line in installed.journal())
    installed.events(NODE)


def test_is_active_while_the_broker_is_missing(installed: Machine) -> None:
    installed.run("systemctl", "stop", "mosquitto")
    installed.run("systemctl", "restart", "serd")
    try:
        assert installed.show("ActiveState") == "active"
        installed.wait_until(
            lambda: "broker" in installed.show("StatusText"), "a status about the broker"
        )
        known = len(_history(installed))
        installed.wait_until(lambda: len(_history(installed)) > known, "an event in the journal")
    finally:
        installed.run("systemctl", "start", "mosquitto")
    # Events journalled meanwhile are published before new ones.
    first = json.loads(installed.events(NODE)[0])["seq"]
    assert first <= known + 1


def test_is_active_while_the_microphone_is_missing(installed: Machine) -> None:
    _set_up(installed, "--microphone", "default")
    try:
        _wait_active(installed)
        installed.wait_until(
            lambda: installed.show("StatusText").startswith("waiting for the microphone"),
            "a status about the microphone",
        )
        assert installed.show("NRestarts") == "0"
    finally:
        _set_up(installed, "--source", str(SAMPLE))
    _wait_active(installed)


def test_sound_devices_work_in_the_sandbox(installed: Machine) -> None:
    """PortAudio's callback, with an ALSA device that plays a file (there is no hardware here)."""
    raw = installed.root / "var" / "lib" / "sound.raw"
    tone = bytes(range(256)) * 6000
    raw.write_bytes(tone)
    installed.write(
        "/etc/asound.conf",
        'pcm.filemic { type file; slave.pcm "null"; file "/dev/null"; '
        'infile "/var/lib/sound.raw"; format "raw" }\n'
        "pcm.!default { type plug; slave.pcm filemic }\n"
        "ctl.!default { type hw; card 0 }\n",
    )
    _set_up(installed, "--microphone", "default")
    try:
        # The device delivers without any pacing. Whether serd warns about that does not matter
        # here, only that its callback is called.
        def listens() -> bool:
            latest = [line for line in installed.journal() if line.startswith("listening to")][-1]
            return str(SAMPLE) not in latest

        installed.wait_until(listens, "it to listen to the device")
        time.sleep(8)  # longer than a device may be silent
        assert not any("delivered nothing" in line for line in installed.journal())
        # Only the driver's thread has normal priority, unless systemd cannot grant that, in a
        # container without CAP_SYS_RESOURCE.
        pid = str(_pid(installed))
        listed = installed.run("ps", "-L", "-o", "nice=", "-p", pid).stdout.split()
        allowed = (
            "Max nice priority         20" in installed.run("cat", f"/proc/{pid}/limits").stdout
        )
        print(
            "nice values of the threads:", *listed, "(0 allowed)" if allowed else "(0 not allowed)"
        )
        assert sorted(listed) == ["0"] * allowed + ["5"] * (len(listed) - allowed)
    finally:
        (installed.root / "etc" / "asound.conf").unlink()
        _set_up(installed, "--source", str(SAMPLE))
    _wait_active(installed)


def test_serd_can_read_files_of_the_audio_group(installed: Machine) -> None:
    """Sound devices belong to root and that group, which the sandbox must not take away."""
    installed.run("install", "-g", "audio", "-m", "0640", str(SAMPLE), "/srv/group.ogg")
    _set_up(installed, "--source", "/srv/group.ogg")
    try:
        assert installed.show("StatusText").startswith("listening")
        installed.events(NODE)
    finally:
        _set_up(installed, "--source", str(SAMPLE))


def test_an_invalid_configuration_causes_no_restart_loop(installed: Machine) -> None:
    good = installed.read(CONFIG)
    installed.write(CONFIG, good.replace("half_life_s: 60.0", "half_life_s: soon"))
    try:
        installed.run("systemctl", "restart", "serd", check=False)
        installed.wait_until(lambda: installed.show("ActiveState") == "failed", "it to fail")
        time.sleep(12)  # twice RestartSec: it would have restarted by now
        assert installed.show("ActiveState") == "failed"
        assert installed.show("ExecMainStatus") == "78"
        assert installed.show("NRestarts") == "0"
        assert any("half_life_s" in line for line in installed.journal())
    finally:
        installed.write(CONFIG, good)
    installed.run("systemctl", "restart", "serd")
    assert installed.show("ActiveState") == "active"


@pytest.fixture
def with_login(installed: Machine) -> Iterator[Machine]:
    """The same machine while the broker requires a login that serd-setup was given."""
    broker = "/etc/mosquitto/conf.d/test.conf"
    open_to_all = installed.read(broker)
    installed.run("mosquitto_passwd", "-c", "-b", "/etc/mosquitto/users", "pi", "not so secret")
    installed.run("chown", "mosquitto:", "/etc/mosquitto/users")
    installed.write(
        broker,
        open_to_all.replace("anonymous true", "anonymous false")
        + "password_file /etc/mosquitto/users\n",
    )
    good = installed.read(CONFIG)
    installed.run("systemctl", "restart", "mosquitto")
    try:
        installed.write("/root/secret", "not so secret\n")
        _set_up(installed, "--username", "pi", "--password-file", "/root/secret")
        _wait_active(installed)
        installed.wait_until(
            lambda: installed.show("StatusText") == "listening", "the broker to let it in"
        )
        yield installed
    finally:
        installed.write(broker, open_to_all)
        installed.write(CONFIG, good)
        installed.run("systemctl", "restart", "mosquitto", "serd")
        _wait_active(installed)


def test_the_password_is_stored_as_a_credential(with_login: Machine) -> None:
    stored = with_login.run("stat", "-c", "%a %U", "/etc/credstore/serd.mqtt-password")
    assert stored.stdout.strip() == "600 root"
    assert "not so secret" not in with_login.read(CONFIG)


def test_the_commands_work_for_a_logged_in_user(with_login: Machine) -> None:
    """With sudo, from any folder, also from a clone, whose config.yaml is not the service's."""
    with_login.run("useradd", "--create-home", "anna", check=False)
    with_login.write("/etc/sudoers.d/anna", "anna ALL=(ALL) NOPASSWD: ALL\n")
    with_login.run("install", "-D", "-o", "anna", str(SOURCE / "config.yaml"),
                   "/home/anna/clone/config.yaml")  # fmt: skip

    def run_as_user(command: str, *, must_succeed: bool = True) -> str:
        done = with_login.run("runuser", "-l", "anna", "-c", f"cd clone && {command}", check=False)
        assert done.returncode == 0 or not must_succeed, done.stdout
        return done.stdout

    known = len(_history(with_login))
    with_login.wait_until(lambda: len(_history(with_login)) > known, "an event")
    assert NODE in run_as_user("sudo serd history --json | tail -n 1")
    tailed = run_as_user(
        "timeout 60 sudo serd tail --no-history --json | head -n 1", must_succeed=False
    )
    assert json.loads(tailed.splitlines()[-1])["node"] == NODE, tailed
    checked = run_as_user("sudo serd check --json --listen 0 2>/dev/null")
    checks = {check["check"]: check for check in json.loads(checked)["checks"]}
    assert checks["broker login"]["status"] == "ok", checks["broker login"]
    assert CONFIG in checks["configuration"]["message"]
    # Without sudo the remedy is sudo.
    refused = run_as_user("serd tail", must_succeed=False)
    assert "run the command with sudo" in refused
    assert "Traceback" not in refused
    with_login.run("userdel", "--remove", "anna", check=False)  # it fails without a mail spool


def test_a_broker_restart_is_not_mistaken_for_a_second_serd(installed: Machine) -> None:
    """mosquitto sends all wills when it stops, including serd's."""
    for _ in range(3):
        installed.run("systemctl", "restart", "mosquitto")
        installed.events(NODE)
    assert not any("second serd" in line for line in installed.journal())


def test_upgrade_keeps_configuration_and_journal(installed: Machine) -> None:
    installed.events(NODE)
    mine = installed.read(CONFIG).replace("keep_days: 30", "keep_days: 31")
    installed.write(CONFIG, mine)
    known = [event["id"] for event in _history(installed)]
    done = installed.run(str(SOURCE / "install.sh"), "--upgrade", timeout=INSTALL_S)
    print(done.stdout)
    _wait_active(installed)
    assert installed.read(CONFIG) == mine
    installed.events(NODE)
    assert {*known} < {event["id"] for event in _history(installed)}


def test_a_second_installation_changes_nothing(installed: Machine) -> None:
    mine = installed.read(CONFIG)
    installed.run(str(SOURCE / "install.sh"), timeout=INSTALL_S)
    assert installed.read(CONFIG) == mine
    assert installed.show("ActiveState") == "active"
    assert installed.run("sh", "-c", "ls /opt/serd").stdout.split() == ["install.sh", "venv"]


def test_uninstalling_leaves_configuration_and_journal(
    installed: Machine, pristine: set[str]
) -> None:
    known = len(_history(installed))
    assert known > 0
    installed.run("/opt/serd/install.sh", "--uninstall")
    left = {path for path in _files(installed) - pristine if _is_ours(path)}
    outside = {path for path in left if not path.startswith(("/etc/serd", "/var/lib/serd"))}
    assert outside <= {"/etc/credstore/serd.mqtt-password"}
    assert {CONFIG, "/var/lib/serd/journal.db"} <= left
    assert installed.run("systemctl", "cat", "serd", check=False).returncode != 0


def test_purging_leaves_nothing(installed: Machine, pristine: set[str]) -> None:
    installed.run(str(SOURCE / "install.sh"), "--uninstall", "--purge")
    assert {path for path in _files(installed) - pristine if _is_ours(path)} == set()
    assert installed.run("getent", "passwd", "serd", check=False).returncode != 0
    assert installed.run("getent", "group", "serd", check=False).returncode != 0
