-- +goose Up
-- What pods tell of a tunnel's requests and links. Nothing is decided by it.

CREATE TABLE counts (
    tunnel_id TEXT   NOT NULL REFERENCES tunnels (id) ON DELETE CASCADE,
    minute    BIGINT NOT NULL,
    pod       TEXT   NOT NULL,
    requests  BIGINT NOT NULL,
    errors    BIGINT NOT NULL,
    refused   BIGINT NOT NULL,
    PRIMARY KEY (tunnel_id, minute, pod)
);
CREATE INDEX counts_minute ON counts (minute);

CREATE TABLE moments (
    tunnel_id TEXT   NOT NULL REFERENCES tunnels (id) ON DELETE CASCADE,
    id        BIGINT NOT NULL, -- in the order in which they were told
    at        BIGINT NOT NULL,
    pod       TEXT   NOT NULL,
    session   TEXT   NOT NULL,
    kind      TEXT   NOT NULL,
    protocol  TEXT   NOT NULL,
    agent     TEXT   NOT NULL,
    reason    TEXT   NOT NULL,
    PRIMARY KEY (tunnel_id, id)
);
-- A link opens once and closes once, however often that is told.
CREATE UNIQUE INDEX moments_link ON moments (tunnel_id, pod, session, kind) WHERE session <> '';
CREATE INDEX moments_at ON moments (at);
INSERT INTO counters (name, last) VALUES ('moment', 0);
