-- +goose Up
-- Where a change was made, so that a pod forgets the slug without a question.

ALTER TABLE events ADD COLUMN slug TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN old_slug TEXT NOT NULL DEFAULT '';
