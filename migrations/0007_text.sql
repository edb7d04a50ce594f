-- Resources as the text in which they are served. Hardly a statement looks into `content`, and of twenty resources on their way
-- to a client jsonb took longer to become text than the whole search for them: see docs/decisions/0004. Text keeps every
-- digit as well, for which a column of its own was needed.
--
-- What was stored before keeps the order of members that jsonb gave it.
ALTER TABLE resource ALTER COLUMN content TYPE json USING coalesce(exact, content::text)::json;
ALTER TABLE resource DROP COLUMN exact;
ALTER TABLE resource_history ALTER COLUMN content TYPE json USING coalesce(exact, content::text)::json;
ALTER TABLE resource_history DROP COLUMN exact;

DO $$
BEGIN
    ALTER TABLE resource ALTER COLUMN content SET COMPRESSION lz4;
    ALTER TABLE resource_history ALTER COLUMN content SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END $$;
