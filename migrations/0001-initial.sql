-- Shiplock's state. Times are the database's own; `psql` is a fine monitor: see the views at the end.

-- One sequence for every lease and every edge call: a number drawn later is larger, whoever draws it (I6).
create sequence fence_numbers as bigint;

-- Event numbers are drawn under an advisory lock that lasts until commit, so that number order is commit order (I11).
create sequence event_numbers as bigint;

create table servers (
  id          text primary key,
  name        text not null,
  -- Drawn at every start; a lease of an earlier boot of the same server is known to be dead.
  boot_id     text not null,
  started_at  timestamptz not null default now()
);

create table projects (
  id          text primary key,
  name        text not null unique,
  created_at  timestamptz not null default now()
);

create table environments (
  id          text primary key,
  project_id  text not null references projects,
  name        text not null,
  created_at  timestamptz not null default now(),
  unique (project_id, name)
);

create table services (
  id          text primary key,
  project_id  text not null references projects,
  name        text not null,
  -- Where the next deployment takes its code from unless told otherwise.
  source      jsonb,
  -- deploy.trigger.queue of the last config that was read: every | latest.
  queue_policy text not null default 'every' check (queue_policy in ('every', 'latest')),
  created_at  timestamptz not null default now(),
  unique (project_id, name)
);

-- One service in one environment: host name, live release, ordered queue. Its row lock is the right to change its route.
create table service_environments (
  id              text primary key,
  project_id      text not null references projects,
  environment_id  text not null references environments,
  service_id      text not null references services,
  host            text not null unique,
  -- What serves, and what the bake would swap back to.
  live_deployment_id      text,
  previous_deployment_id  text,
  next_release_number     integer not null default 1,
  -- {reason, since, by}: automatic deployments wait until a manual one (DESIGN.md §2).
  hold            jsonb,
  -- Set by `shiplock scale`; null = what the config says.
  instances       integer,
  created_at      timestamptz not null default now(),
  unique (service_id, environment_id)
);

create table releases (
  id                      text primary key,
  service_environment_id  text not null references service_environments,
  number                  integer not null,
  deployment_id           text not null unique,
  revision                jsonb not null,
  artifact                jsonb not null,
  config                  jsonb not null,
  build_key               text,
  trigger                 jsonb not null,
  -- The resolved variables, AES-256-GCM; opened only to start instances.
  sealed_variables        bytea not null,
  pinned                  boolean not null default false,
  first_live_at           timestamptz,
  -- Set when retention dropped it: the artifact is gone, the record stays.
  deleted_at              timestamptz,
  created_at              timestamptz not null default now(),
  unique (service_environment_id, number)
);
create index releases_by_build_key on releases (service_environment_id, build_key) where deleted_at is null;

create table deployments (
  id                      text primary key,
  -- First come, first served.
  position                bigint generated always as identity,
  project_id              text not null references projects,
  environment_id          text not null references environments,
  service_id              text not null references services,
  service_environment_id  text not null references service_environments,
  kind                    text not null check (kind in ('deploy', 'rollback')),
  source                  jsonb,
  trigger                 jsonb not null,
  options                 jsonb not null,
  status                  text not null default 'pending' check (status in
                            ('pending', 'cloning', 'building', 'deploying', 'running', 'failed', 'canceled', 'superseded', 'rolled_back')),
  stage                   text,
  status_reason           text not null default '',
  error                   jsonb,
  verdict                 text check (verdict in ('failed', 'canceled')),
  settled                 boolean not null default false,
  release_id              text references releases,
  rollback_to             text references releases,
  replaced_by             text references deployments,
  facts                   jsonb not null,
  -- The right to be in progress. Held exactly while cloning, building or deploying.
  slot                    smallint check (slot >= 1),
  cancel_requested_at     timestamptz,
  created_at              timestamptz not null default now(),
  started_at              timestamptz,
  -- End of BUILD_TIMEOUT; bounds fetch to verify.
  deadline_at             timestamptz,
  swapped_at              timestamptz,
  settled_at              timestamptz,
  constraint slot_means_in_progress check ((slot is not null) = (status in ('cloning', 'building', 'deploying'))),
  constraint settled_has_time check (settled = (settled_at is not null))
);
-- I4 by constraint, not by counting: one per service and environment, and at most as many as there are slot numbers.
create unique index one_in_progress_per_service_environment on deployments (service_environment_id) where slot is not null;
create unique index one_deployment_per_slot on deployments (slot) where slot is not null;
create index pending_in_order on deployments (position) where status = 'pending';
create index unsettled on deployments (id) where not settled;
create index deployments_of_service_environment on deployments (service_environment_id, position desc);
create index deployments_in_order on deployments (position desc);

-- Who works on a deployment. A row exists while somebody does.
create table leases (
  deployment_id  text primary key references deployments on delete cascade,
  owner          text not null references servers,
  boot_id        text not null,
  fence          bigint not null,
  expires_at     timestamptz not null
);

create table stage_runs (
  deployment_id  text not null references deployments on delete cascade,
  stage          text not null,
  run            integer not null,
  outcome        text check (outcome in ('done', 'skipped', 'failed', 'canceled')),
  reason         text,
  fence          bigint not null,
  started_at     timestamptz not null default now(),
  finished_at    timestamptz,
  primary key (deployment_id, stage, run)
);

create table instances (
  id                      text primary key,
  deployment_id           text not null references deployments,
  release_id              text not null references releases,
  service_environment_id  text not null references service_environments,
  server_id               text not null references servers,
  index                   integer not null,
  state                   text not null check (state in ('starting', 'ready', 'serving', 'warm', 'standby', 'removed')),
  host                    text,
  port                    integer,
  restarts                integer not null default 0,
  standby_until           timestamptz,
  created_at              timestamptz not null default now(),
  updated_at              timestamptz not null default now()
);
create index instances_that_exist on instances (service_environment_id) where state <> 'removed';
create index instances_of_deployment on instances (deployment_id);

create table events (
  sequence                bigint primary key,
  at                      timestamptz not null default clock_timestamp(),
  type                    text not null,
  message                 text not null,
  project_id              text,
  environment_id          text,
  service_id              text,
  service_environment_id  text,
  deployment_id           text,
  instance_id             text,
  data                    jsonb not null default '{}',
  terminal                boolean not null default false
);
create index events_of_deployment on events (deployment_id, sequence) where deployment_id is not null;
create index events_of_service_environment on events (service_environment_id, sequence) where service_environment_id is not null;

create table log_lines (
  deployment_id  text not null references deployments on delete cascade,
  sequence       integer not null,
  at             timestamptz not null,
  stream         text not null,
  source         text,
  text           text not null,
  primary key (deployment_id, sequence)
);
-- Counters of a deployment's log, apart from its wide row.
create table log_ends (
  deployment_id  text primary key references deployments on delete cascade,
  last_sequence  integer not null default 0,
  bytes          bigint not null default 0,
  dropped        bigint not null default 0
);

-- Project < environment < service; null = the wider scope. Values are sealed (AES-256-GCM).
create table variables (
  project_id      text not null references projects on delete cascade,
  environment_id  text references environments on delete cascade,
  service_id      text references services on delete cascade,
  name            text not null,
  sealed_value    bytea not null,
  secret          boolean not null default false,
  updated_at      timestamptz not null default now(),
  unique nulls not distinct (project_id, environment_id, service_id, name)
);

create table uploads (
  digest      text not null,
  project_id  text not null references projects on delete cascade,
  bytes       bigint not null,
  created_at  timestamptz not null default now(),
  primary key (project_id, digest)
);

create table tokens (
  id            text primary key,
  name          text not null,
  -- sha256 of the token; the token itself is shown once and never stored.
  hash          bytea not null unique,
  created_at    timestamptz not null default now(),
  last_used_at  timestamptz
);

create table idempotency_keys (
  key         text not null,
  token_id    text not null,
  request     text not null,
  status      integer not null,
  body        jsonb not null,
  created_at  timestamptz not null default now(),
  primary key (token_id, key)
);

-- ── for people with psql
create view queue as
  select d.position, d.id, p.name as project, e.name as environment, s.name as service, d.kind, d.status, d.stage,
         d.slot, l.owner as worked_on_by, l.expires_at as lease_expires_at, d.created_at, d.started_at, d.status_reason
    from deployments d
    join projects p on p.id = d.project_id
    join environments e on e.id = d.environment_id
    join services s on s.id = d.service_id
    left join leases l on l.deployment_id = d.id
   where not d.settled
   order by d.position;

create view live as
  select p.name as project, e.name as environment, s.name as service, se.host, r.number as release, d.id as deployment, d.swapped_at as since,
         (select count(*) from instances i where i.deployment_id = d.id and i.state = 'serving') as instances
    from service_environments se
    join projects p on p.id = se.project_id
    join environments e on e.id = se.environment_id
    join services s on s.id = se.service_id
    left join deployments d on d.id = se.live_deployment_id
    left join releases r on r.id = d.release_id;

-- What the edge should send where: derived, never stored twice. The reconciler gives it back to an edge that lost its disk.
create view routes as
  select se.id as service_environment_id, se.host,
         jsonb_agg(jsonb_build_object('instanceId', i.id, 'host', i.host, 'port', i.port) order by i.index) as targets
    from service_environments se
    join instances i on i.service_environment_id = se.id and i.state = 'serving' and i.port is not null
   group by se.id, se.host;
