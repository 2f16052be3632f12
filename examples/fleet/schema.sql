-- Where to_postgres.py writes. Safe to run again: psql -d serd -f schema.sql
--
-- `id` is the event's own UUIDv7: every event is stored once, however often MQTT delivers it, and
-- new rows go to the end of the index because version 7 identifiers increase with time.

CREATE SCHEMA IF NOT EXISTS serd;

CREATE TABLE IF NOT EXISTS serd.event (
    id            uuid PRIMARY KEY,
    home          text NOT NULL DEFAULT '',  -- the home, from the topic; '' without a bridge
    node          text NOT NULL,
    seq           bigint NOT NULL,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    duration_s    real NOT NULL,
    emotion       text NOT NULL,
    confidence    real NOT NULL,
    scores        jsonb NOT NULL,
    valence       real NOT NULL,
    arousal       real NOT NULL,
    level_dbfs    real NOT NULL,
    model         text NOT NULL,             -- name and version
    model_sha256  text NOT NULL,             -- first 12 hex digits
    latency_ms    real,
    stored_at     timestamptz NOT NULL DEFAULT now()
);

-- For queries by room and day; also finds neighbouring numbers for serd.gap.
CREATE INDEX IF NOT EXISTS event_by_node_and_time ON serd.event (home, node, ended_at DESC);
-- Not unique: a node whose journal was deleted starts again at 1, and its events should be kept.
CREATE INDEX IF NOT EXISTS event_by_node_and_seq ON serd.event (home, node, seq);
-- For queries by time; small, because rows arrive almost in chronological order.
CREATE INDEX IF NOT EXISTS event_by_time ON serd.event USING brin (ended_at);

-- Messages on event topics that are not events, to find out who sends them. At most 60 rows a minute,
-- of at most 4096 bytes each; old rows may be deleted.
CREATE TABLE IF NOT EXISTS serd.refused (
    received_at  timestamptz NOT NULL DEFAULT now(),
    topic        text NOT NULL,
    reason       text NOT NULL,
    bytes        integer NOT NULL,           -- of the whole payload
    payload      bytea NOT NULL              -- its beginning
);

-- The mood of each room by hour. Uncertain events count in the averages, but not in `mood`.
CREATE OR REPLACE VIEW serd.hourly_mood AS
SELECT home,
       node,
       date_trunc('hour', ended_at) AS hour,
       count(*) AS events,
       count(*) FILTER (WHERE emotion = 'uncertain') AS uncertain,
       mode() WITHIN GROUP (ORDER BY emotion) FILTER (WHERE emotion <> 'uncertain') AS mood,
       (sum(valence * duration_s) / nullif(sum(duration_s), 0))::real AS valence,
       (sum(arousal * duration_s) / nullif(sum(duration_s), 0))::real AS arousal,
       sum(duration_s)::real AS speech_s
FROM serd.event
GROUP BY home, node, date_trunc('hour', ended_at);

-- Numbers missing between two events of a node: the only reliable sign of a loss.
CREATE OR REPLACE VIEW serd.gap AS
SELECT home, node, before + 1 AS first_missing, seq - 1 AS last_missing,
       seq - before - 1 AS missing, ended_at AS noticed_at
FROM (SELECT home, node, seq, ended_at,
             lag(seq) OVER (PARTITION BY home, node ORDER BY seq) AS before
      FROM serd.event) AS numbered
WHERE seq > before + 1;

-- The consumer needs only these rights:
--   CREATE ROLE serd_writer LOGIN PASSWORD '...';
--   GRANT USAGE ON SCHEMA serd TO serd_writer;
--   GRANT INSERT, SELECT (id) ON serd.event TO serd_writer;
--   GRANT INSERT ON serd.refused TO serd_writer;
