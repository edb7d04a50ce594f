-- Requests in the minute that ends at ends_at, by whoever is limited: an address, an application, a person. Shared by all
-- instances, which report what they let in now and then (base::limits). Worth nothing after a crash, so it is not logged.
CREATE UNLOGGED TABLE request_count (
    key     bytea PRIMARY KEY,                            -- SHA-256 of what is counted
    count   bigint NOT NULL,
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);                                 -- a row is written again and again: room for its next version
CREATE INDEX request_count_expiry ON request_count (ends_at);
