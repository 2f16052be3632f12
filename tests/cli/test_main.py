"""Error messages, exit codes and the options that all commands share."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from serd.audio import SAMPLE
from serd.cli.main import PIPE_CLOSED, cli
from serd.errors import (
    ConfigError,
    InputError,
    ModelError,
    SerdError,
    UnavailableError,
    UsageError,
)
from serd.interruption import INTERRUPTED
from serd.version import VERSION
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

COMMANDS = cli.list_commands(click.Context(cli))


def register_failing_command(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli.commands, "fail", fail)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (InputError, 66),
        (UnavailableError, 69),
        (SerdError, 70),
        (ConfigError, 78),
        (ModelError, 78),
    ],
)
def test_errors_are_printed_as_plain_lines(
    serd: Serd, kind: type[SerdError], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_failing_command(kind("it is wrong\nand this too", remedy="do this"), monkeypatch)
    assert serd("fail") == (code, "", "serd: it is wrong\nserd: and this too\n      do this\n")


def test_an_unexpected_exception_is_reported_as_a_bug(
    serd: Serd, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_failing_command(ValueError("two\nlines"), monkeypatch)
    assert serd("fail") == (
        70,
        "",
        (
            "serd: this is a bug in serd: ValueError: two lines\n"
            "serd: please report it with what the same command prints with --debug\n"
        ),
    )


def test_tracebacks_are_printed_only_with_debug(
    serd: Serd, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_failing_command(ConfigError("wrong"), monkeypatch)
    assert "Traceback" not in serd("fail").err
    outcome = serd("--debug", "fail")
    assert outcome.code == 78
    assert outcome.err.startswith("Traceback (most recent call last):\n")
    assert outcome.err.endswith("ConfigError: wrong\nserd: wrong\n")


def test_an_interrupt_prints_nothing(serd: Serd, monkeypatch: pytest.MonkeyPatch) -> None:
    register_failing_command(KeyboardInterrupt(), monkeypatch)
    assert serd("fail") == (INTERRUPTED, "", "")


def test_version(serd: Serd) -> None:
    assert serd("--version") == (0, f"serd {VERSION}\n", "")


def test_help_lists_every_command(serd: Serd) -> None:
    code, out, err = serd("--help")
    assert (code, err) == (0, "")
    rows = out.partition("Commands:\n")[2].splitlines()
    listed = [row.split()[0] for row in rows if row[2] != " "]
    assert listed == COMMANDS
    assert "..." not in "".join(rows)  # descriptions are not truncated


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(serd: Serd, name: str) -> None:
    code, out, _ = serd(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: serd {name} ")
    assert "--set KEY=VALUE" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["clasify"], "Error: No such command 'clasify'"),
        (["run", "--pace", "slow"], "Error: Invalid value for '--pace': 'slow' is not one of"),
        (["run", "--rate", "0"], "Error: Invalid value for '--rate': 0 is not in the range"),
        (["classify"], "Error: Missing argument 'PATH...'"),
        (["history", "--since", "soon"], "Invalid value for '--since': 'soon' is not a time"),
        (["config", "show", "--set", "x"], "serd: --set 'x' is not of the form KEY=VALUE"),
        (["history", "--json", "--csv"], "serd: --json, --csv and --plot exclude each other"),
        (["tail", "--node", "a/b"], "serd: node: 'a/b' cannot be part of a topic"),
        (["tail", "--node", "#"], "serd: node: '#' cannot be part of a topic"),
        ([], "Usage: serd [OPTIONS] COMMAND"),
    ],
)
def test_usage_errors(serd: Serd, arguments: list[str], sentence: str) -> None:
    code, out, err = serd(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "node=n", "--set", "log.level=debug", "config", "show", "--json"],
        ["config", "--set", "node=n", "show", "--set", "log.level=debug", "--json"],
        ["--set", "node=m", "config", "show", "--json", "--set=log.level=debug", "--set=node=n"],
    ],
)
def test_common_options_work_before_and_after_the_command(serd: Serd, arguments: list[str]) -> None:
    import json

    config = json.loads(serd(*arguments).out)["config"]
    assert (config["node"], config["log"]["level"]) == ("n", "debug")


def test_the_last_config_option_wins(serd: Serd, home: Path) -> None:
    (home / "a.yaml").write_text("node: a")
    (home / "b.yaml").write_text("node: b")
    out = serd("--config", "a.yaml", "config", "show", "--config", home / "b.yaml").out
    assert out.splitlines()[0] == f"# {home}/b.yaml"
    assert serd("--config", "a.yaml", "config", "show").out.startswith("# a.yaml\nnode: a ")


# ------------------------------------------------------------------ in a separate process


def run_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "serd.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["config", "validate"], 0, ""),
        (["config", "validate", "--config", "none.yaml"], 78,
         "serd: none.yaml: the configuration file cannot be read: no such file or directory\n"),
        (["--set", "mqtt.port=0", "run"], 78,
         "serd: --set: mqtt.port = 0 is not allowed; allowed: a whole number from 1 to 65535\n"),
        (["history"], 69, "serd: there is no journal at "),
        (["classify", "none.wav"], 66, "serd: none.wav does not exist\n"),
        # stat() itself fails, as it does in a folder without search permission.
        (["classify", "x" * 300], 66, f"serd: {'x' * 300} cannot be read: File name too long\n"),
        (["model", "info", "none.tflite"], 78, "serd: there is no model none.tflite\n"),
        (["nonsense"], 2, "Usage: serd "),
    ],
)  # fmt: skip
def test_exit_codes(home: Path, arguments: list[str], code: int, sentence: str) -> None:
    done = run_process(*arguments, cwd=home)
    assert (done.returncode, done.stderr[: len(sentence)]) == (code, sentence)
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_the_command_silently(home: Path) -> None:
    command = [sys.executable, "-m", "serd.cli.main", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == PIPE_CLOSED


def run_redirected(
    redirections: str, *arguments: str, cwd: Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m serd "$@" {redirections}', sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


PRINTING = [
    ["--version"],
    ["run", "--help"],
    ["completion", "bash"],
    ["config", "schema"],  # more than a buffer holds
    ["config", "show"],
    ["model", "info"],
    ["classify", str(SAMPLE)],
    ["meter", "--source", str(SAMPLE), "--set", "audio.pace=fast"],
]


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_output_onto_a_full_disk(home: Path, arguments: list[str]) -> None:
    done = run_redirected(">/dev/full", *arguments, cwd=home)
    sentence = "serd: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (69, sentence)


def test_a_demo_onto_a_full_disk(home: Path) -> None:
    settings = (f"audio.source={SAMPLE}", "audio.pace=fast", "mqtt.host=embedded",
                f"mqtt.port={free_port()}")  # fmt: skip
    options = [word for setting in settings for word in ("--set", setting)]
    done = run_redirected(">/dev/full", "demo", *options, cwd=home)
    assert (done.returncode, "Traceback" in done.stderr) == (69, False)
    assert done.stderr.endswith("standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_closed_standard_streams_are_no_error(home: Path, arguments: list[str]) -> None:
    done = run_redirected("<&- >&- 2>&-", *arguments, cwd=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_printed_into_a_file_that_takes_the_place_of_a_closed_stream(home: Path) -> None:
    run = ["run", "--source", str(SAMPLE), "--pace", "fast", "--set", "mqtt.host=embedded",
           "--set", f"mqtt.port={free_port()}", "--set", "journal.path=journal.db"]  # fmt: skip
    done = run_redirected("<&- >&-", *run, cwd=home)
    assert done.returncode == 0, done.stderr
    history = run_process("history", "--json", "--set", "journal.path=journal.db", cwd=home)
    assert history.stdout.count("\n") >= 8


@pytest.mark.parametrize("arguments", [["classify", "-"], ["personal", "import", "-"]])
def test_closed_standard_input_is_an_input_error(home: Path, arguments: list[str]) -> None:
    done = run_redirected("<&-", *arguments, cwd=home)
    sentence = "serd: there is no standard input to read from\n"
    assert (done.returncode, done.stderr) == (66, sentence)


def test_config_show_imports_no_heavy_modules(home: Path) -> None:
    code = (
        "import sys; from serd.cli.main import main; main(['config', 'show'])\n"
        "heavy = {'numpy', 'rich', 'sounddevice', 'soundfile', 'paho', 'sqlite3', 'serd.model',"
        " 'ai_edge_litert'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
