-- What was taken away from callers, and what went out of records.

-- How often something was taken away that a server may remember of a token: the token, its grant, its client, the account, or
-- what stands for the person (src/auth/recognition.rs). A number that everybody sees at once, before the transaction that raised
-- it ends.
CREATE SEQUENCE withdrawal;
-- A sequence that was never used does not show its first step.
SELECT nextval('withdrawal');

-- Raises the number, and waits until no server believes in the former one: servers ask again after 20 milliseconds. The lock tells
-- them, until the transaction has ended, that what they look up now may not be remembered.
CREATE FUNCTION note_withdrawal() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this_transaction text := pg_current_xact_id()::text;
BEGIN
    -- Once for each transaction.
    IF current_setting('medconsult.withdrawal', true) IS DISTINCT FROM this_transaction THEN
        PERFORM set_config('medconsult.withdrawal', this_transaction, true);
        PERFORM pg_advisory_xact_lock_shared(hashtext('access.withdrawal'), 0);
        PERFORM nextval('withdrawal');
        PERFORM pg_sleep(0.025);
    END IF;
END
$$;

-- The number, if no transaction that raised it is still under way; NULL otherwise.
CREATE FUNCTION settled_withdrawals() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    -- Read before the lock is tried: whoever raised the number as far as this had the lock by then.
    number bigint := (SELECT last_value FROM withdrawal);
BEGIN
    RETURN CASE WHEN pg_try_advisory_xact_lock(hashtext('access.withdrawal'), 0) THEN number END;
END
$$;

-- By triggers, at the very end of a transaction, so that nobody waits for its locks longer than need be.
CREATE FUNCTION count_withdrawal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_withdrawal();
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER withdrawn AFTER UPDATE OR DELETE ON access_token
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_withdrawal();
CREATE CONSTRAINT TRIGGER withdrawn AFTER UPDATE OR DELETE ON oauth_grant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_withdrawal();
CREATE CONSTRAINT TRIGGER withdrawn AFTER UPDATE OR DELETE ON oauth_client
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_withdrawal();
CREATE CONSTRAINT TRIGGER withdrawn AFTER DELETE ON account
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_withdrawal();
-- Signing in changes an account too, and takes nothing away.
CREATE CONSTRAINT TRIGGER changed AFTER UPDATE ON account
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN ((OLD.active, OLD.role, OLD.profile, OLD.person) IS DISTINCT FROM (NEW.active, NEW.role, NEW.profile, NEW.person))
    EXECUTE FUNCTION count_withdrawal();

-- A resource that stands for somebody came or went. What a Person or a PractitionerRole says is watched by a hook.
CREATE FUNCTION count_if_it_stands_for_somebody() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM resource_type t WHERE t.id = NEW.type
               AND t.name IN ('Organization', 'Patient', 'Practitioner', 'RelatedPerson')) THEN
        IF NEW.deleted OR OLD.version > 0 THEN
            PERFORM note_withdrawal();
        ELSE
            -- What others have referred to before it was there: it takes nothing from anybody, and imports do not wait for it.
            PERFORM pg_advisory_xact_lock_shared(hashtext('access.withdrawal'), 0);
            PERFORM nextval('withdrawal');
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER came_or_went AFTER UPDATE OF deleted ON resource
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.deleted IS DISTINCT FROM NEW.deleted)
    EXECUTE FUNCTION count_if_it_stands_for_somebody();

-- Resources that were part of a patient's record once and are not any more: deleted, or about somebody else. Their former versions
-- are still that patient's, and histories begin to look for them here. A resource that came back may stand here all the same.
CREATE TABLE former_record (
    patient bigint NOT NULL,
    rid     bigint NOT NULL,
    PRIMARY KEY (patient, rid)
);

CREATE FUNCTION note_former_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Rows that are made anew go and come in one statement. AuditEvents are never deleted, but may be moved into files.
    INSERT INTO former_record (patient, rid)
    SELECT DISTINCT g.target, g.rid FROM gone g JOIN resource p ON p.rid = g.target JOIN resource r ON r.rid = g.rid
    WHERE p.type = (SELECT t.id FROM resource_type t WHERE t.name = 'Patient')
      AND r.type <> (SELECT t.id FROM resource_type t WHERE t.name = 'AuditEvent')
      AND NOT EXISTS (SELECT FROM idx_reference n WHERE n.param = g.param AND n.rid = g.rid AND n.target = g.target)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER former_records AFTER DELETE ON idx_reference
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_former_records();

-- Whether anything is refused to somebody is asked once for a search, before it is asked for each of its candidates.
CREATE INDEX consent_denial_holder ON consent_denial (holder);
