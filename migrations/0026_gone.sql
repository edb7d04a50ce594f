-- What was taken away from callers, and what went out of records.

-- How often something was taken away that a server may remember of a token: the token, its grant, its client, the account, or
-- what stands for the person. A server that remembers a token asks for this number with each request, and for nothing else as
-- long as it stays the same (src/auth/recognition.rs).

CREATE TABLE withdrawal (
    n bigint NOT NULL
);
INSERT INTO withdrawal (n) VALUES (0);

-- Once for each transaction. By the triggers below at its very end, so that the row is locked for no longer than the commit takes.
CREATE FUNCTION note_withdrawal() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this_transaction text := pg_current_xact_id()::text;
BEGIN
    IF current_setting('medconsult.withdrawal', true) IS DISTINCT FROM this_transaction THEN
        PERFORM set_config('medconsult.withdrawal', this_transaction, true);
        UPDATE withdrawal SET n = n + 1;
    END IF;
END
$$;

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
        PERFORM note_withdrawal();
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
