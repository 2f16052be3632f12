"""The configuration. ``serd.config`` itself is only the schema, and cheap to import.

The way of a value: :mod:`~serd.config.loading` takes it from the file
(:mod:`~serd.config.document`), the environment or an option, :mod:`~serd.config.validation` judges
it by the :mod:`~serd.config.schema`, and :mod:`~serd.config.checks` compares it with the others.
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
