"""Room of the configuration: what can be set, where it comes from, what is wrong with it.

``serd.config`` itself is only the schema and costs little to import. Reading files, environment
and ``--set`` is :mod:`serd.config.loading`.
"""

from __future__ import annotations

from serd.config.schema import (
    AudioConfig,
    Config,
    DecisionConfig,
    Emotion,
    Hook,
    JournalConfig,
    LogConfig,
    MetricsConfig,
    ModelConfig,
    MoodConfig,
    MqttConfig,
    PersonalConfig,
    QuietHours,
    Sensitivity,
    SourceConfig,
    SpeechConfig,
    TlsConfig,
)

__all__ = [
    "AudioConfig",
    "Config",
    "DecisionConfig",
    "Emotion",
    "Hook",
    "JournalConfig",
    "LogConfig",
    "MetricsConfig",
    "ModelConfig",
    "MoodConfig",
    "MqttConfig",
    "PersonalConfig",
    "QuietHours",
    "Sensitivity",
    "SourceConfig",
    "SpeechConfig",
    "TlsConfig",
]
