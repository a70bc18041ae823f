-- +goose Up
-- A search for a whole name finds the newest that have it, however many there are.

CREATE INDEX tunnels_named ON tunnels (name, created_at, id) WHERE deleted_at IS NULL;
