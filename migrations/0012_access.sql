-- Who cares for whom, and what patients refuse: what policies compile into conditions on.
--
-- Both tables are written by the statement that stores the resource they follow from (`source`), and no key is checked,
-- as for index rows: `commit` is the only writer, and takes what it replaces by its source.

-- From `starts` to before `ends`, `holder` looks after `patient`.
CREATE TABLE care_relation (
    holder  bigint NOT NULL,              -- rid of a Practitioner, PractitionerRole, RelatedPerson, …: as `source` names them
    patient bigint NOT NULL,              -- rid of a Patient
    source  bigint NOT NULL,              -- rid of the Appointment, Encounter, … that says so; 0: break-glass
    starts  timestamptz NOT NULL,
    ends    timestamptz NOT NULL
);
CREATE INDEX care_relation_holder ON care_relation (holder, patient, starts, ends, source);
CREATE INDEX care_relation_patient ON care_relation (patient, holder);
CREATE INDEX care_relation_source ON care_relation (source);

-- From `starts` to before `ends`, `patient` keeps records of a type from a holder, by a Consent.
CREATE TABLE consent_denial (
    patient        bigint NOT NULL,
    holder         bigint NOT NULL,       -- 0: everybody but `except_holders`
    type           smallint NOT NULL,     -- 0: every type but `except_types`
    source         bigint NOT NULL,
    starts         timestamptz NOT NULL,
    ends           timestamptz NOT NULL,
    except_holders bigint[] NOT NULL DEFAULT '{}',
    except_types   smallint[] NOT NULL DEFAULT '{}'
);
CREATE INDEX consent_denial_patient ON consent_denial (patient);
CREATE INDEX consent_denial_source ON consent_denial (source);

-- One row: by which rules the two were made. A server with others makes them anew before its first answer.
CREATE TABLE care_rules (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    rules   text NOT NULL
);
INSERT INTO care_rules (rules) VALUES ('');
