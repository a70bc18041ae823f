-- +goose Up
-- One schema for SQLite and PostgreSQL. Moments are microseconds since 1970,
-- NULL for none; limits, auth and cidrs are JSON, '' for none.

CREATE TABLE tunnels (
    id              TEXT   NOT NULL PRIMARY KEY,
    slug            TEXT   NOT NULL UNIQUE,
    name            TEXT   NOT NULL,
    token           BYTEA  NOT NULL,
    old_token       BYTEA  NOT NULL,
    old_token_until BIGINT,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    revoked_at      BIGINT,
    deleted_at      BIGINT,
    limits          TEXT   NOT NULL,
    auth            TEXT   NOT NULL,
    cidrs           TEXT   NOT NULL,
    search          TEXT   NOT NULL -- slug, name and id in lower case, a line each
);
CREATE INDEX tunnels_listed ON tunnels (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tunnels_deleted ON tunnels (deleted_at) WHERE deleted_at IS NOT NULL;

-- Slugs that a living tunnel gave up; a deleted one holds its own.
CREATE TABLE held_slugs (
    slug       TEXT   NOT NULL PRIMARY KEY,
    tunnel_id  TEXT   NOT NULL,
    held_until BIGINT NOT NULL
);

CREATE TABLE pods (
    id       TEXT   NOT NULL PRIMARY KEY,
    heard_at BIGINT NOT NULL
);

CREATE TABLE links (
    tunnel_id     TEXT   NOT NULL PRIMARY KEY REFERENCES tunnels (id) ON DELETE CASCADE,
    connected     BIGINT NOT NULL, -- 0 or 1
    pod           TEXT   NOT NULL,
    session       TEXT   NOT NULL,
    since         BIGINT,
    protocol      TEXT   NOT NULL,
    agent         TEXT   NOT NULL,
    last_error    TEXT   NOT NULL,
    last_error_at BIGINT
);
CREATE INDEX links_connected ON links (pod) WHERE connected = 1;

CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL,
    role         TEXT   NOT NULL,
    digest       BYTEA  NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at   BIGINT
);

CREATE TABLE audit (
    id         BIGINT NOT NULL PRIMARY KEY,
    at         BIGINT NOT NULL,
    actor_key  TEXT   NOT NULL,
    actor_name TEXT   NOT NULL,
    source     TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    detail     TEXT   NOT NULL
);
CREATE INDEX audit_target ON audit (target, id);
CREATE INDEX audit_at ON audit (at);

CREATE TABLE events (
    id        BIGINT NOT NULL PRIMARY KEY,
    at        BIGINT NOT NULL,
    tunnel_id TEXT   NOT NULL,
    kind      TEXT   NOT NULL
);

-- Counted within each transaction, so that ids appear in their order.
CREATE TABLE counters (
    name TEXT   NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);
INSERT INTO counters (name, last) VALUES ('audit', 0), ('event', 0);

CREATE TABLE answers (
    id      BYTEA  NOT NULL PRIMARY KEY,
    request BYTEA  NOT NULL,
    sealed  BYTEA  NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX answers_at ON answers (at);
