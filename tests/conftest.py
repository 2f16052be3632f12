"""Fixtures that every room's tests may use."""

from __future__ import annotations

from tests.corpora import corpora
from tests.models import network, networks, six_model_path, tiny_info, tiny_model_path

__all__ = ["corpora", "network", "networks", "six_model_path", "tiny_info", "tiny_model_path"]
