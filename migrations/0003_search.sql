-- What searches need beyond an index by value and one by rid.

-- A search for what ends after some time (`ge`, `gt`, `ap`) reads the index on `low` from a day before. The few spans that
-- are longer than a day begin anywhere before that, hence their own index. The same goes for quantities that are true
-- intervals (a Range, `< 5 mg`). Without a time zone the sum of time and interval is the same in every session, as an index
-- needs it to be.
CREATE INDEX idx_date_long ON idx_date (param, high, rid)
    WHERE high AT TIME ZONE 'UTC' > low AT TIME ZONE 'UTC' + interval '1 day';
CREATE INDEX idx_quantity_interval ON idx_quantity (param, code, high, rid) WHERE low <> high;

-- All parameters share a table, and how often a value occurs depends on the parameter. Without this the planner
-- multiplies the two frequencies, and takes `final` among statuses for rare or a name among names for frequent.
CREATE STATISTICS idx_token_values (mcv, ndistinct) ON param, code FROM idx_token;
CREATE STATISTICS idx_reference_values (mcv, ndistinct) ON param, target FROM idx_reference;
CREATE STATISTICS idx_string_values (mcv, ndistinct) ON param, norm FROM idx_string;
CREATE STATISTICS idx_quantity_values (mcv, ndistinct) ON param, code FROM idx_quantity;
CREATE STATISTICS idx_uri_values (mcv, ndistinct) ON param, uri FROM idx_uri;
