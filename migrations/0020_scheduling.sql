-- Calendars: which time of a Schedule is taken. Everything here follows from Slots and Appointments, is written in the
-- transaction that writes those, and is what makes a double booking impossible rather than unlikely.

-- Equality in the same index as overlap. An extension that a database's owner may create.
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- A row per Slot whose status is busy, busy-tentative or busy-unavailable.
CREATE TABLE calendar_entry (
    slot        bigint PRIMARY KEY,      -- rid of the Slot
    schedule    bigint NOT NULL,         -- rid of its Schedule
    starts      timestamptz NOT NULL,    -- with what is kept free before the visit
    ends        timestamptz NOT NULL,    -- and after it
    blocked     boolean NOT NULL,        -- busy-unavailable: may lie over visits, which stay until somebody moves them
    appointment bigint,                  -- rid of the Appointment that fills the Slot
    CHECK (starts < ends),
    CONSTRAINT calendar_entry_once EXCLUDE USING gist (schedule WITH =, tstzrange(starts, ends) WITH &&) WHERE (NOT blocked)
);
-- What is taken between two instants, read from the index alone.
CREATE INDEX calendar_entry_time ON calendar_entry (schedule, ends, starts) INCLUDE (appointment, slot, blocked);
CREATE INDEX calendar_entry_appointment ON calendar_entry (appointment) WHERE appointment IS NOT NULL;

-- Appointments that lapse when nobody does anything: holds, requests, and those that wait for a payment.
CREATE TABLE appointment_expiry (
    appointment bigint PRIMARY KEY,      -- rid
    expires_at  timestamptz NOT NULL
);
CREATE INDEX appointment_expiry_time ON appointment_expiry (expires_at, appointment);

-- Secret addresses under which an account's visits can be read as a calendar file.
CREATE TABLE calendar_feed (
    hash       bytea PRIMARY KEY,                       -- SHA-256 of the secret in the address
    actor      text COLLATE "C" NOT NULL UNIQUE,        -- whose visits: Patient/… or Practitioner/…
    created_at timestamptz NOT NULL
);
