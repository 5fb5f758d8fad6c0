-- What keeps a waiting deployment back is found without reading all that ever was.
create index pending_of_service_environment on deployments (service_environment_id, position) where status = 'pending';
create index held_service_environments on service_environments (id) where hold is not null;
create index freezes_in_event_log on events (project_id, sequence) where type in ('environment.frozen', 'environment.unfrozen');

-- One host's directory of instances, artifacts and edge, which several servers may share (docs/adr/0005-servers-and-nodes.md).
create table nodes (
  id           text primary key,
  host         text not null,
  directory    text not null,
  -- Where its edge listens: whoever takes the work over starts it there again.
  edge_listen  text not null,
  created_at   timestamptz not null default now()
);
alter table servers
  add column node_id    text references nodes,
  -- Of this very moment while it lives; the database's clock.
  add column seen_at    timestamptz not null default '-infinity',
  -- It holds its node's lock: the only one there that carries out deployments.
  add column is_working boolean not null default false;

create view server_states as
  select s.id, s.name, n.host, n.directory, s.is_working, s.started_at, s.seen_at, s.seen_at > now() - interval '10 seconds' as is_alive
    from servers s left join nodes n on n.id = s.node_id
   order by s.started_at;
