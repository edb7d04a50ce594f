-- How rare quantities with two ends are (a Range, `< 5 mg`). Without it the planner takes them for as frequent as all others,
-- and reads a page of them in the order of rid, to the end of the table, although they have an index of their own.
CREATE STATISTICS idx_quantity_intervals ON (low <> high) FROM idx_quantity;
CREATE STATISTICS idx_composite_intervals ON (low2 <> high2) FROM idx_composite;
