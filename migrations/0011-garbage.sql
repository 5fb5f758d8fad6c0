-- What was cleared up, for people: one row per round in which something went.
create table garbage_runs (
  id         bigint generated always as identity primary key,
  at         timestamptz not null default clock_timestamp(),
  server_id  text not null,
  reason     text not null check (reason in ('periodic', 'asked', 'disk')),
  bytes      bigint not null check (bytes >= 0),
  -- Numbers of what went: images, names, buildCacheBytes, networks.
  removed    jsonb not null
);
create index garbage_runs_of_server on garbage_runs (server_id, id desc);
