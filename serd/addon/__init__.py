"""The Home Assistant add-on: what starts serd in its container, by ``python -m serd.addon``.

``options`` says what can be set on the add-on's page and makes a configuration of it,
``supervisor`` asks Home Assistant's Supervisor for the broker and the microphone, ``microphone``
sees to it that the one which was chosen is the one that is heard, and ``launcher`` runs daemon and
dashboard.
"""
