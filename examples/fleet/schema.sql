-- Where to_postgres.py writes. Safe to run again: psql -d serd -f schema.sql
--
-- `id` is the event's own UUIDv7: it makes every event count once, however often MQTT delivers it, and
-- new rows go to the end of the index because identifiers of version 7 rise with time.

CREATE SCHEMA IF NOT EXISTS serd;

CREATE TABLE IF NOT EXISTS serd.event (
    id            uuid PRIMARY KEY,
    home          text NOT NULL DEFAULT '',  -- what stands before the base topic; '' without a bridge
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

-- "This room, this day"; also finds the neighbours of a number for serd.gap.
CREATE INDEX IF NOT EXISTS event_by_node_and_time ON serd.event (home, node, ended_at DESC);
-- Not unique: a node whose journal was deleted begins again at 1, and its events are worth keeping.
CREATE INDEX IF NOT EXISTS event_by_node_and_seq ON serd.event (home, node, seq);
-- "Everything of last week": a few pages, because rows come nearly in the order of time.
CREATE INDEX IF NOT EXISTS event_by_time ON serd.event USING brin (ended_at);

-- What came on a topic of events and is none, for whoever wants to know who sends it. A minute brings
-- 60 rows at most, of 4096 bytes at most; delete what is old: it is in nobody's way.
CREATE TABLE IF NOT EXISTS serd.refused (
    received_at  timestamptz NOT NULL DEFAULT now(),
    topic        text NOT NULL,
    reason       text NOT NULL,
    bytes        integer NOT NULL,           -- of the whole payload
    payload      bytea NOT NULL              -- its beginning
);

-- How a room sounded, hour by hour. Uncertain events count in the averages, not in `mood`.
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

-- Numbers that are missing between two events of a node: the only sure sign of a loss.
CREATE OR REPLACE VIEW serd.gap AS
SELECT home, node, before + 1 AS first_missing, seq - 1 AS last_missing,
       seq - before - 1 AS missing, ended_at AS noticed_at
FROM (SELECT home, node, seq, ended_at,
             lag(seq) OVER (PARTITION BY home, node ORDER BY seq) AS before
      FROM serd.event) AS numbered
WHERE seq > before + 1;

-- The consumer needs no more than this:
--   CREATE ROLE serd_writer LOGIN PASSWORD '...';
--   GRANT USAGE ON SCHEMA serd TO serd_writer;
--   GRANT INSERT, SELECT (id) ON serd.event TO serd_writer;
--   GRANT INSERT ON serd.refused TO serd_writer;
