-- What searches need beyond an index by value and one by rid.

-- A search for what reaches beyond some time (`ge`, `gt`, `ap`) bounds `high`. Quantities are nearly always points, where
-- `low` serves as well: only the true intervals (a Range, `< 5 mg`) need an index of their own.
CREATE INDEX idx_date_high ON idx_date (param, high, rid, low);
CREATE INDEX idx_quantity_interval ON idx_quantity (param, code, high, rid) WHERE low <> high;

-- All parameters share a table, and how often a value occurs depends on the parameter. Without this the planner
-- multiplies the two frequencies, and takes `final` among statuses for rare or a name among names for frequent.
CREATE STATISTICS idx_token_values (mcv, ndistinct) ON param, code FROM idx_token;
CREATE STATISTICS idx_reference_values (mcv, ndistinct) ON param, target FROM idx_reference;
CREATE STATISTICS idx_string_values (mcv, ndistinct) ON param, norm FROM idx_string;
CREATE STATISTICS idx_quantity_values (mcv, ndistinct) ON param, code FROM idx_quantity;
CREATE STATISTICS idx_uri_values (mcv, ndistinct) ON param, uri FROM idx_uri;
