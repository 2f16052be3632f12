"""The schema of the configuration: every key with its type, range, default and one sentence.

That sentence is the key's documentation: the JSON Schema, docs/configuration.md and the messages
about wrong values are derived from it. Units are in the names (``_s`` seconds, ``_db`` decibels,
``_hz`` hertz). Constructing a struct in Python checks nothing; :func:`serd.config.loading.load`
does.
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
    """The repr of a section, with the password and every login in a URL masked."""
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
    """Where sound comes from."""

    source: Annotated[
        str,
        text(
            "What to listen to: mic, the URL of a live stream such as a camera's, the path of an "
            "audio file, or - for standard input (raw 16-bit little-endian mono samples, or a "
            "recording). A URL needs ffmpeg; a login in it is masked wherever it would appear.",
            path=True,
        ),
    ] = "mic"
    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(
            description="A program and its arguments, run instead of source, that writes raw "
            "16-bit little-endian mono samples or a WAV stream to its standard output. It is not "
            "run in a shell. Empty: none."
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
        Annotated[str, text("File whose first line is the password for the URL.", path=True)] | None
    ) = None
    on_end: Annotated[
        Literal["auto", "retry", "stop"],
        Meta(
            description="What to do when standard input or the program ends: retry opens it again "
            "and again; stop ends this source. auto: retry for a program, and for standard input "
            "under systemd or if there are other sources; otherwise stop."
        ),
    ] = "auto"
    device: (
        Annotated[
            str,
            text(
                "Which microphone: part of its name, or a stable id from `serd devices`; an index "
                "works, but changes when devices are plugged in. null: the system's default."
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
                "Which of several channels to use: mix (all but dead ones), auto (the one with the "
                "clearest speech; it changes slowly), or a number from 1.",
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
                "Gain applied to the source, in decibels. auto: a slow automatic gain of at most "
                "30 dB for distant voices (docs/troubleshooting.md#voices-from-afar).",
            ),
        ]
    ) = 0.0
    buffer_s: Annotated[
        float,
        between(
            0.5,
            60,
            "Seconds of sound that may wait to be processed; if there is more, the oldest is "
            "dropped and counted.",
        ),
    ] = 2.0
    rate_hz: Annotated[int, between(2000, 768_000, "Sample rate of raw samples.")] = 16_000
    pace: Annotated[
        Literal["real", "fast"],
        Meta(description="How an audio file is played: in real time, or as fast as possible."),
    ] = "real"

    @property
    def kind(self) -> Literal["mic", "network", "program", "stdin", "file"]:
        """The kind of source."""
        if self.command:
            return "program"
        if self.source == "mic":
            return "mic"
        if self.source == "-":
            return "stdin"
        return "network" if is_url(self.source) else "file"

    def __repr__(self) -> str:
        """Like msgspec's, without secrets."""
        return _without_secrets(self)


class SpeechConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How speech is detected and cut into utterances."""

    engine: Annotated[
        Literal["webrtc", "silero"],
        Meta(
            description="Voice activity detector: webrtc is small; silero is a neural network and "
            "needs more CPU time."
        ),
    ] = "webrtc"
    confirm: Annotated[
        Literal["auto", "silero", "none"],
        Meta(
            description="A second detector that must also find speech before an utterance is "
            "classified: silero rejects most household noise and music; auto uses it where it is "
            "installed."
        ),
    ] = "auto"
    aggressiveness: Annotated[
        int, between(0, 3, "How readily webrtc rejects a sound as not speech: 0 seldom, 3 often.")
    ] = 2
    window_s: Annotated[
        float,
        between(0.5, 3.0, "Longest utterance, in seconds; longer speech is split."),
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
        between(1, 5, "Voiced frames (30 ms each) among the last five that start an utterance."),
    ] = 3
    min_level_dbfs: Annotated[
        float,
        between(
            -100,
            0,
            "Sound quieter than this is never speech (root mean square, decibels relative to full "
            "scale).",
        ),
    ] = -65.0
    min_voiced_share: Annotated[
        float,
        between(
            0.0, 1.0, "Share of an utterance's frames that must be voiced; rejects taps and fans."
        ),
    ] = 0.4


class ModelConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model classifies the utterances."""

    path: Annotated[
        str,
        text(
            "default or permissive, which come with serd, or the path of a model file. permissive "
            "knows six emotions and is trained without data that excludes commercial use.",
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
                "Confidence below which the result is uncertain (with a model that is calibrated "
                "for homes: below which no emotion is reported). null: the model's own threshold.",
            ),
        ]
        | None
    ) = None


class DecisionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an emotion is reported. Only for models that are calibrated for homes."""

    sensitivity: Annotated[
        Sensitivity,
        Meta(
            description="How readily an emotion is reported; `serd model info` shows how many "
            "false events each setting costs. A choice made in Home Assistant or over MQTT applies "
            "until this changes."
        ),
    ] = "normal"
    agree: (
        Annotated[
            int,
            between(
                1,
                5,
                "Utterances that must agree, within a short time, before an emotion is reported. "
                "null: the model's own number.",
            ),
        ]
        | None
    ) = None
    habituation: Annotated[
        bool,
        Meta(
            description="Get used to the room: an emotion that ordinary speech in it sounds like "
            "is reported less readily. Has no effect with a model that does not say what ordinary "
            "speech sounds like elsewhere."
        ),
    ] = True


class PersonalConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether serd learns from corrections ("that was not anger")."""

    enabled: Annotated[
        bool,
        Meta(
            description="Accept corrections and adapt to them. false: none are accepted, and those "
            "already stored have no effect."
        ),
    ] = True
    scope: Annotated[
        Literal["house", "node"],
        Meta(
            description="house: every correction applies to all nodes of this process. node: only "
            "to the node that heard the utterance."
        ),
    ] = "house"


class MoodConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the room's mood follows the utterances."""

    half_life_s: Annotated[
        float, between(1, 86_400, "Seconds after which an utterance counts half.")
    ] = 60.0
    margin: Annotated[
        float,
        between(
            0.0, 1.0, "Lead, from 0 to 1, that another emotion must have before the mood changes."
        ),
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
                "Certificate of the authority that signed the broker's certificate. null: the "
                "system's authorities.",
                path=True,
            ),
        ]
        | None
    ) = None
    cert: (
        Annotated[
            str,
            text("Client certificate; needs key.", path=True),
        ]
        | None
    ) = None
    key: Annotated[str, text("Private key of cert.", path=True)] | None = None

    @property
    def active(self) -> bool:
        """Whether the connection is encrypted."""
        return self.enabled or self.ca is not None or self.cert is not None


class MqttConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker, and how serd publishes there."""

    host: Annotated[
        str,
        text(
            "Name or address of the broker; embedded runs one inside serd, for this machine only."
        ),
    ] = "localhost"
    port: Annotated[int, between(1, 65_535, "TCP port of the broker.")] = 1883
    username: Annotated[str, text("User name. null: no login.")] | None = None
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
            text("Client id, unique on the broker. null: serd- and the node name."),
        ]
        | None
    ) = None
    keepalive_s: Annotated[int, between(5, 3600, "Keep-alive interval in seconds.")] = 30
    base_topic: Annotated[str, topic("First levels of every topic.")] = "serd"
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
        """Like msgspec's, with the password masked."""
        return _without_secrets(self)


class JournalConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of past events. Sound is never recorded."""

    path: Annotated[
        str,
        text(
            "The journal's file. Default: journal.db in $STATE_DIRECTORY (set by systemd), or "
            "in $XDG_STATE_HOME/serd, or in ~/.local/state/serd.",
            path=True,
        ),
    ] = field(default_factory=default_journal_path)
    keep_days: Annotated[int, between(1, 36_500, "Days after which an event is deleted.")] = 30
    max_events: Annotated[
        int, between(1, 100_000_000, "Most events to keep; the oldest are deleted first.")
    ] = 100_000


class QuietHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time of day when serd does not listen."""

    from_: Annotated[str, clock("Local time when it begins.")] = field(name="from")
    to: Annotated[str, clock("Local time when it ends; the next day if that is earlier.")]


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to run for an event."""

    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(min_length=1, description="The program and its arguments; it is not run in a shell."),
    ]
    emotion: Annotated[
        tuple[Emotion, ...], Meta(description="Emotions for which it runs. Empty: all.")
    ] = ()
    min_confidence: Annotated[
        float, between(0.0, 1.0, "Confidence below which it does not run.")
    ] = 0.0
    cooldown_s: Annotated[float, between(0, 86_400, "Seconds to wait before it may run again.")] = (
        0.0
    )
    timeout_s: Annotated[float, between(0.1, 3600, "Seconds after which it is stopped.")] = 10.0


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Metrics for Prometheus over HTTP."""

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
            "Address to listen on. The default is for this machine only; anyone who can reach the "
            "port can read the metrics.",
        ),
    ] = "127.0.0.1"


class LogConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """serd's log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The lowest level that is logged."),
    ] = "info"
    format: Annotated[
        Literal["text", "json"],
        Meta(description="Lines for people (and systemd's journal), or one JSON object per line."),
    ] = "text"


class SourceConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of several microphones. Keys that are left out are taken from the top."""

    node: Annotated[str, node_name("Its name in topics and events.")]
    name: Annotated[str, title("Its display name; as `name` at the top.")] | None = None
    mute: Annotated[
        bool, Meta(description="Start with this microphone muted; as `mute` at the top.")
    ] = False
    audio: AudioConfig = AudioConfig()
    speech: SpeechConfig = SpeechConfig()
    quiet_hours: Annotated[
        tuple[QuietHours, ...], Meta(description="As `quiet_hours` at the top, which it replaces.")
    ] = ()


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    node: Annotated[
        str, node_name("Name of this node in topics and events. Default: the host name.")
    ] = field(default_factory=default_node)
    name: (
        Annotated[
            str,
            title(
                "Display name of this place, such as Küche, in the dashboard, `serd tail` and Home "
                "Assistant. null: the node's name."
            ),
        ]
        | None
    ) = None
    language: (
        Annotated[
            str,
            language_tag(
                "Language in which people read emotions and states, such as de, on the terminal "
                "and in Home Assistant. Topics and JSON stay English. null: that of the "
                "environment (LANG).",
            ),
        ]
        | None
    ) = None
    sources: Annotated[
        tuple[SourceConfig, ...],
        Meta(
            description="Several microphones in one process, each its own node. Empty: one, as "
            "configured by the keys at the top.",
        ),
    ] = ()
    mute: Annotated[
        bool,
        Meta(
            description="Start with the microphone muted, unless somebody has unmuted it over MQTT."
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
            description="Times of day when the microphone is muted, whatever the mute switch says.",
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
        """A configuration for each node, as if it were the only one.

        With several nodes, each has its own client id on the broker.
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
        """The configuration of one node; without a name, of the first one.

        Raises:
            UsageError: There is no such node.
        """
        each = {single.node: single for single in self.each()}
        if node is not None and node not in each:
            raise UsageError(
                f"no source is called {node!r}", remedy=f"there are: {', '.join(each)}"
            )
        return next(iter(each.values())) if node is None else each[node]
