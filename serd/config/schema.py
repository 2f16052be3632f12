"""The schema of the configuration: every key with its type, range, default and one sentence.

That sentence is the key's documentation: the JSON schema, the messages about wrong values and the
comments of ``serd config show`` are made from what stands here. Units are in the names (``_s``
seconds, ``_db`` decibels, ``_hz`` hertz). Constructing a struct in Python checks nothing;
:func:`serd.config.loading.load` does.
"""

from typing import Annotated, Any, Literal, Self, TypeAlias

import msgspec.json
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from serd.config.fields import (
    between,
    clock,
    default_journal_path,
    default_node,
    language_tag,
    node_name,
    text,
    title,
    topic,
)
from serd.config.secrets import MASK, is_url, scrubbed
from serd.errors import UsageError


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file."""
    schema = msgspec.json.schema(Config)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _without_secrets(settings: Struct) -> str:
    """A section as msgspec writes it, with the password and every login in a URL masked."""
    shown = (
        f"{name}={MASK!r}"
        if name == "password" and getattr(settings, name) is not None
        else f"{name}={scrubbed(repr(getattr(settings, name)))}"
        for name in settings.__struct_fields__
    )
    return f"{type(settings).__name__}({', '.join(shown)})"


Sensitivity: TypeAlias = Literal["low", "normal", "high"]
"""How readily an emotion is reported, the most reserved first."""

Emotion: TypeAlias = Literal[
    "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "uncertain"
]
"""What an event may say: the emotions in the order of their scores, and ``uncertain``."""


class AudioConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the sound comes from."""

    source: Annotated[
        str,
        text(
            "What to listen to: mic, the URL of a live stream such as a camera's, the path of an "
            "audio file, or - for standard input (raw 16-bit little-endian mono samples, or a "
            "recording). A URL needs ffmpeg; a login in it is masked wherever it would be shown.",
        ),
    ] = "mic"
    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(
            description="A program and its arguments, run instead of source, that writes raw "
            "16-bit little-endian mono samples or a WAV stream to its standard output. No shell is "
            "involved. Empty: none."
        ),
    ] = ()
    username: Annotated[str, text("Login name for the URL.")] | None = None
    password: (
        Annotated[
            str,
            text(
                "Password for the URL, or for {password} in it; a password_file keeps it out of "
                "this file.",
                secret=True,
            ),
        ]
        | None
    ) = None
    password_file: (
        Annotated[str, text("File whose first line is that password.", path=True)] | None
    ) = None
    on_end: Annotated[
        Literal["auto", "retry", "stop"],
        Meta(
            description="What follows when standard input or the program of command ends: retry "
            "opens it again, for ever; stop ends this source. auto: retry for a program, and for "
            "standard input under systemd or beside other sources; else stop."
        ),
    ] = "auto"
    device: (
        Annotated[
            str,
            text(
                "Which microphone: part of its name or a stable id as shown by `serd devices`; an "
                "index works but changes when devices are plugged. null: the system's default."
            ),
        ]
        | int
        | None
    ) = None
    channel: (
        Literal["mix", "auto"]
        | Annotated[
            int,
            between(
                1,
                64,
                "Of several channels, which is heard: mix (all, less those that are dead), auto "
                "(the one with the clearest speech, chosen slowly), or a number from 1.",
            ),
        ]
    ) = "mix"
    gain_db: (
        Literal["auto"]
        | Annotated[
            float,
            between(
                -60,
                60,
                "Gain applied to the source, in decibels. auto: a slow gain of at most 30 dB for "
                "voices from afar (docs/troubleshooting.md#voices-from-afar).",
            ),
        ]
    ) = 0.0
    buffer_s: Annotated[
        float,
        between(
            0.5,
            60,
            "Seconds of sound that may wait to be worked on; beyond it the oldest is dropped and "
            "counted.",
        ),
    ] = 2.0
    rate_hz: Annotated[int, between(2000, 768_000, "Sample rate of raw samples.")] = 16_000
    pace: Annotated[
        Literal["real", "fast"],
        Meta(description="How an audio file is played: as it would sound, or as fast as it goes."),
    ] = "real"

    @property
    def kind(self) -> Literal["mic", "network", "program", "stdin", "file"]:
        """What sort of source is meant."""
        if self.command:
            return "program"
        if self.source == "mic":
            return "mic"
        if self.source == "-":
            return "stdin"
        return "network" if is_url(self.source) else "file"

    def __repr__(self) -> str:
        """As msgspec writes it, but without secrets."""
        return _without_secrets(self)


class SpeechConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How speech is found and cut into utterances."""

    engine: Annotated[
        Literal["webrtc", "silero"],
        Meta(
            description="Voice activity detector: webrtc is small; silero is a network and needs "
            "the extra serd-emotion[silero]."
        ),
    ] = "webrtc"
    confirm: Annotated[
        Literal["auto", "silero", "none"],
        Meta(
            description="A second detector that an utterance must convince before it is judged: "
            "silero keeps most household sound and music out; auto uses it where it is installed."
        ),
    ] = "auto"
    aggressiveness: Annotated[
        int, between(0, 3, "How readily webrtc calls a sound no speech: 0 hardly, 3 readily.")
    ] = 2
    window_s: Annotated[
        float,
        between(0.5, 3.0, "Longest utterance, in seconds; longer speech becomes several in a row."),
    ] = 3.0
    min_speech_s: Annotated[
        float, between(0.5, 3.0, "Shortest utterance, in seconds; shorter ones are dropped.")
    ] = 0.5
    hangover_s: Annotated[
        float, between(0.03, 2.0, "Seconds without speech that end an utterance.")
    ] = 0.3
    preroll_s: Annotated[
        float,
        between(
            0.0, 1.0, "Seconds of sound kept before the first voiced frame and after the last."
        ),
    ] = 0.1
    onset_frames: Annotated[
        int,
        between(1, 5, "Voiced frames (30 ms each) among the last five that begin an utterance."),
    ] = 3
    min_level_dbfs: Annotated[
        float,
        between(
            -100,
            0,
            "Sound quieter than this is never speech (root mean square, decibels to full scale).",
        ),
    ] = -65.0
    min_voiced_share: Annotated[
        float,
        between(
            0.0, 1.0, "Share of an utterance's frames that must be voiced, against taps and fans."
        ),
    ] = 0.4


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which network judges the utterances."""

    path: Annotated[
        str,
        text(
            "default or permissive, which come with serd, or the path of a model file. permissive "
            "knows six emotions and is trained without data for non-commercial use.",
            path=True,
        ),
    ] = "default"
    threads: Annotated[int, between(1, 64, "Threads of the interpreter.")] = 1
    min_confidence: (
        Annotated[
            float,
            between(
                0.0,
                1.0,
                "Confidence below which an utterance is called uncertain (of models that know of "
                "homes: below which an emotion is not told). null: the model's own threshold.",
            ),
        ]
        | None
    ) = None


class DecisionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an emotion is told. Only for models that know of homes."""

    sensitivity: Annotated[
        Sensitivity,
        Meta(
            description="How readily an emotion is told; `serd model info` says what each costs "
            "in false events. A choice made in Home Assistant or over MQTT holds until this "
            "changes."
        ),
    ] = "normal"
    agree: (
        Annotated[
            int,
            between(
                1,
                5,
                "Utterances that must agree, within a short time, before an emotion is told. "
                "null: as many as the model says.",
            ),
        ]
        | None
    ) = None


class PersonalConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether serd learns from corrections ("that was not anger")."""

    enabled: Annotated[
        bool,
        Meta(
            description="Take corrections and hear by them. false: none are taken, and those that "
            "are kept change nothing."
        ),
    ] = True
    scope: Annotated[
        Literal["house", "node"],
        Meta(
            description="house: every correction counts for all nodes of this process. node: only "
            "for the node that heard the utterance."
        ),
    ] = "house"


class MoodConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the room's mood follows the utterances."""

    half_life_s: Annotated[
        float, between(1, 86_400, "Seconds after which an utterance counts half.")
    ] = 60.0
    margin: Annotated[
        float,
        between(0.0, 1.0, "By how much (of 1) another emotion must lead before the mood changes."),
    ] = 0.1


class TlsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Encryption of the connection to the broker."""

    enabled: Annotated[
        bool, Meta(description="Encrypt the connection. Setting ca or cert also switches it on.")
    ] = False
    ca: (
        Annotated[
            str,
            text(
                "File of the authority that signed the broker's certificate. null: the system's "
                "authorities.",
                path=True,
            ),
        ]
        | None
    ) = None
    cert: (
        Annotated[
            str,
            text("File of the certificate by which serd proves itself; needs key.", path=True),
        ]
        | None
    ) = None
    key: Annotated[str, text("File of the private key of cert.", path=True)] | None = None

    @property
    def active(self) -> bool:
        """Whether the connection is encrypted."""
        return self.enabled or self.ca is not None or self.cert is not None


class MqttConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker, and what is published there."""

    host: Annotated[
        str,
        text(
            "Name or address of the broker; embedded runs one inside serd, for this machine only."
        ),
    ] = "localhost"
    port: Annotated[int, between(1, 65_535, "TCP port of the broker.")] = 1883
    username: Annotated[str, text("Login name. null: no login.")] | None = None
    password: (
        Annotated[
            str,
            text("Password of username; a password_file keeps it out of this file.", secret=True),
        ]
        | None
    ) = None
    password_file: (
        Annotated[str, text("File whose first line is the password.", path=True)] | None
    ) = None
    client_id: (
        Annotated[
            str,
            text("Name of the connection, unique on the broker. null: serd- and the node name."),
        ]
        | None
    ) = None
    keepalive_s: Annotated[
        int, between(5, 3600, "Seconds between signs of life on an idle connection.")
    ] = 30
    base_topic: Annotated[str, topic("What every topic begins with.")] = "serd"
    discovery: Annotated[
        bool, Meta(description="Announce the node to Home Assistant (MQTT discovery).")
    ] = True
    discovery_prefix: Annotated[str, topic("Home Assistant's discovery prefix.")] = "homeassistant"
    telemetry_s: Annotated[int, between(1, 86_400, "Seconds between two telemetry messages.")] = 60
    tls: TlsConfig = TlsConfig()

    @property
    def embedded(self) -> bool:
        """Whether the broker runs inside serd."""
        return self.host == "embedded"

    def __repr__(self) -> str:
        """As msgspec writes it, but with the password masked."""
        return _without_secrets(self)


class JournalConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of past events (never of sound)."""

    path: Annotated[
        str,
        text(
            "The journal's file. Default: journal.db in $STATE_DIRECTORY (set by systemd), else "
            "in $XDG_STATE_HOME/serd, else in ~/.local/state/serd.",
            path=True,
        ),
    ] = field(default_factory=default_journal_path)
    keep_days: Annotated[int, between(1, 36_500, "Days after which an event is forgotten.")] = 30
    max_events: Annotated[
        int, between(1, 100_000_000, "Events kept at most; the oldest go first.")
    ] = 100_000


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time of the day at which serd does not listen."""

    from_: Annotated[str, clock("Local time at which it begins.")] = field(name="from")
    to: Annotated[str, clock("Local time at which it ends, on the next day if that is earlier.")]


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that is run for an event."""

    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(min_length=1, description="The program and its arguments; no shell is involved."),
    ]
    emotion: Annotated[
        tuple[Emotion, ...], Meta(description="The emotions for which it runs. Empty: all.")
    ] = ()
    min_confidence: Annotated[
        float, between(0.0, 1.0, "Confidence below which it does not run.")
    ] = 0.0
    cooldown_s: Annotated[float, between(0, 86_400, "Seconds to wait before it may run again.")] = (
        0.0
    )
    timeout_s: Annotated[float, between(0.1, 3600, "Seconds after which it is stopped.")] = 10.0


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Figures for Prometheus over HTTP."""

    port: Annotated[
        int,
        between(
            0,
            65_535,
            "TCP port of /metrics and /healthz; 0: off. Needs the extra serd-emotion[metrics].",
        ),
    ] = 0
    host: Annotated[
        str,
        text(
            "Address to listen on. The default is for this machine only; whoever can reach the "
            "port can read the figures.",
        ),
    ] = "127.0.0.1"


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What serd says of its own work, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least important messages that are still written."),
    ] = "info"
    format: Annotated[
        Literal["text", "json"],
        Meta(description="Lines for people (and systemd's journal), or one JSON object a line."),
    ] = "text"


class SourceConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several microphones. What is left out is as for all of them."""

    node: Annotated[str, node_name("Name of its place in topics and events.")]
    name: Annotated[str, title("What people call it; as `name` at the top.")] | None = None
    mute: Annotated[
        bool, Meta(description="Begin with this microphone closed; as `mute` at the top.")
    ] = False
    audio: AudioConfig = AudioConfig()
    speech: SpeechConfig = SpeechConfig()
    quiet_hours: Annotated[
        tuple[QuietHours, ...], Meta(description="As `quiet_hours` at the top, which it replaces.")
    ] = ()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    node: Annotated[
        str, node_name("Name of this place in topics and events. Default: the host name.")
    ] = field(default_factory=default_node)
    name: (
        Annotated[
            str,
            title(
                "What people call this place, such as Küche; shown by dashboard, `serd tail` and "
                "Home Assistant. null: the node's name."
            ),
        ]
        | None
    ) = None
    language: (
        Annotated[
            str,
            language_tag(
                "Language of emotions and states where people read them, such as de: "
                "on the terminal and in Home Assistant. Topics and JSON stay English. null: as "
                "the environment says (LANG).",
            ),
        ]
        | None
    ) = None
    sources: Annotated[
        tuple[SourceConfig, ...],
        Meta(
            description="Several microphones in one process, each a node of its own. Empty: one, "
            "as the keys at the top say.",
        ),
    ] = ()
    mute: Annotated[
        bool,
        Meta(
            description="Begin with the microphone closed, unless somebody has unmuted it over "
            "MQTT."
        ),
    ] = False
    audio: AudioConfig = AudioConfig()
    speech: SpeechConfig = SpeechConfig()
    model: ModelConfig = ModelConfig()
    decision: DecisionConfig = DecisionConfig()
    personal: PersonalConfig = PersonalConfig()
    mood: MoodConfig = MoodConfig()
    mqtt: MqttConfig = MqttConfig()
    journal: JournalConfig = field(default_factory=JournalConfig)
    quiet_hours: Annotated[
        tuple[QuietHours, ...],
        Meta(
            description="Times of the day at which the microphone is closed, whatever the mute "
            "switch says.",
        ),
    ] = ()
    hooks: Annotated[
        tuple[Hook, ...],
        Meta(
            description="Programs to run for events, each with the event as JSON on its standard "
            "input.",
        ),
    ] = ()
    metrics: MetricsConfig = MetricsConfig()
    log: LogConfig = LogConfig()

    def each(self) -> tuple[Self, ...]:
        """A configuration for each node, as if it were alone: with what holds for it, on top.

        Of several, each gets a connection to the broker by a name of its own.
        """
        if not self.sources:
            return (self,)
        client_id = self.mqtt.client_id
        return tuple(
            replace(
                self,
                node=source.node,
                name=source.name,
                mute=source.mute,
                audio=source.audio,
                speech=source.speech,
                quiet_hours=source.quiet_hours,
                mqtt=replace(
                    self.mqtt, client_id=None if client_id is None else f"{client_id}-{source.node}"
                ),
                sources=(),
            )
            for source in self.sources
        )

    def of(self, node: str | None) -> Self:
        """The configuration of one node; of the first, or only one, if none is named.

        Raises:
            UsageError: There is no such node.
        """
        each = {single.node: single for single in self.each()}
        if node is not None and node not in each:
            raise UsageError(
                f"no source is called {node!r}", remedy=f"there are: {', '.join(each)}"
            )
        return next(iter(each.values())) if node is None else each[node]
