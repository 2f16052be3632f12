"""The Home Assistant add-on, started in its container by ``python -m serd.addon``.

``supervisor`` talks to Home Assistant's Supervisor: the options it shows, the broker it offers and
the microphone chosen on the add-on's page. ``microphone`` makes sure that serd records from that
microphone. ``__main__`` runs the daemon and the dashboard.
"""
