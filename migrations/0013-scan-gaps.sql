-- What a scan could not look into, and why: the findings of the rest are kept and judged, and the report is shown as partial.
alter table scans add column gaps jsonb not null default '[]';
