-- Who may do what, what makes deployments happen by themselves, and what is told to others about them.

-- Pairs that other tables refer to, so that no row can name the environment or service of another project (I10).
alter table environments add constraint environment_in_project unique (id, project_id);
alter table services add constraint service_in_project unique (id, project_id);
alter table service_environments add constraint service_environment_in_project unique (id, project_id);

-- Plans as data: {retention, services, environments, concurrentBuilds, previews}; a missing key = the server's own limit.
alter table projects add column limits jsonb not null default '{}';

-- Pushes to this branch deploy here; null = what the service's config says, then the repository's default branch.
alter table environments add column branch text;

-- {branch, tags, watch}: deploy.trigger of the last config that was read. A webhook can't wait for a clone to know it.
alter table services add column trigger_rules jsonb;

-- A secret, or a plain value with a password in it, that previews may have all the same.
alter table variables add column for_previews boolean not null default false;

-- ── access
create table members (
  id          text primary key,
  project_id  text not null references projects on delete cascade,
  name        text not null,
  role        text not null check (role in ('owner', 'developer', 'viewer')),
  created_at  timestamptz not null default now(),
  unique (project_id, name)
);

-- Project null = the whole server, as with the token made at the first start. Verbs null = all that the role may.
alter table tokens
  add column member_id       text references members on delete cascade,
  add column project_id      text references projects on delete cascade,
  add column environment_id  text,
  add column role            text not null default 'owner' check (role in ('owner', 'developer', 'viewer')),
  add column verbs           text[] check (cardinality(verbs) between 1 and 32),
  add column created_by      text,
  add column expires_at      timestamptz,
  add column revoked_at      timestamptz,
  add constraint token_environment_in_project foreign key (environment_id, project_id) references environments (id, project_id) on delete cascade,
  add constraint environment_needs_project check (environment_id is null or project_id is not null);
create index tokens_of_project on tokens (project_id) where project_id is not null;

-- Only added to. No references: what is said about a project outlives it.
create table audit_log (
  position    bigint generated always as identity primary key,
  at          timestamptz not null default clock_timestamp(),
  actor       text not null,
  token_id    text,
  -- Address of the client as the API saw it.
  address     text,
  -- Verb and kind: token.create, secret.set, freeze.lift.
  action      text not null,
  project_id  text,
  target      text,
  -- What was asked for, without secrets.
  data        jsonb not null default '{}'
);
create index audit_log_of_project on audit_log (project_id, position);

-- ── webhooks
create table webhooks (
  id                text primary key,
  project_id        text not null references projects on delete cascade,
  service_id        text not null,
  provider          text not null check (provider in ('github', 'gitlab', 'gitea')),
  -- No secret = every request is refused. The previous one holds until its end while the host is being changed over.
  sealed_secret           bytea,
  sealed_previous_secret  bytea,
  previous_valid_until    timestamptz,
  enabled           boolean not null default true,
  -- A periodic look at the branch heads finds pushes that never arrived.
  checks_heads      boolean not null default true,
  -- For commit statuses and the state of pull requests; null = none are sent.
  api_url           text,
  sealed_api_token  bytea,
  -- Null = no previews: {template, baseBranch, label, drafts, forks, ttlMs, max}.
  preview_rules     jsonb,
  created_at        timestamptz not null default now(),
  rotated_at        timestamptz,
  foreign key (service_id, project_id) references services (id, project_id) on delete cascade,
  constraint previous_secret_has_end check ((sealed_previous_secret is null) = (previous_valid_until is null))
);
create index webhooks_of_service on webhooks (service_id);

create table webhook_deliveries (
  id              text primary key,
  position        bigint generated always as identity unique,
  webhook_id      text not null references webhooks on delete cascade,
  -- As the host gave it, or derived from the body.
  delivery_id     text not null check (length(delivery_id) <= 128),
  event           text not null default '' check (length(event) <= 100),
  body_digest     text not null,
  -- received: stored and answered with 202, not decided yet.
  verdict         text not null check (verdict in ('received', 'queued', 'skipped', 'duplicate', 'ignored', 'refused', 'failed')),
  -- Why, for programs: branch, watch, skip-word, frozen, mismatch, unsigned …
  code            text,
  reason          text not null default '',
  -- The event in its common form; what a replay decides again. Null when it was refused.
  parsed          jsonb,
  -- Beginning of the body, for people. Never kept of a request that was refused.
  payload         bytea check (octet_length(payload) <= 65536),
  payload_bytes   integer not null default 0,
  -- One per environment that was looked at: [{environment, verdict, code, reason, final, deploymentId}].
  decisions       jsonb not null default '[]',
  deployment_ids  text[] not null default '{}',
  replay_of       text references webhook_deliveries on delete set null,
  -- The host still used the secret before the last rotation.
  used_previous_secret  boolean not null default false,
  received_at     timestamptz not null default clock_timestamp(),
  decided_at      timestamptz,
  constraint refused_keeps_nothing check (verdict <> 'refused' or (parsed is null and payload is null))
);
-- A delivery id counts once. Refused requests don't use it up: anybody can send those.
create unique index delivery_id_once on webhook_deliveries (webhook_id, delivery_id)
  where verdict not in ('refused', 'duplicate', 'failed') and replay_of is null;
create index deliveries_of_webhook on webhook_deliveries (webhook_id, position desc);
create index deliveries_by_body on webhook_deliveries (webhook_id, body_digest) where verdict <> 'refused';
create index deliveries_to_decide on webhook_deliveries (position) where verdict = 'received';

-- The last decision about each branch or tag: what the look at the heads compares with.
create table branch_heads (
  service_environment_id  text not null references service_environments on delete cascade,
  -- refs/heads/… or refs/tags/…
  ref            text not null,
  -- Null = deleted.
  sha            text,
  verdict        text not null check (verdict in ('queued', 'skipped')),
  code           text,
  reason         text not null,
  -- False: decided again when the hold or freeze ends.
  is_final       boolean not null default true,
  found_by       text not null check (found_by in ('webhook', 'head-check', 'replay')),
  delivery_id    text references webhook_deliveries on delete set null,
  deployment_id  text references deployments on delete set null,
  decided_at     timestamptz not null default now(),
  checked_at     timestamptz,
  primary key (service_environment_id, ref)
);
create index branch_heads_to_revisit on branch_heads (service_environment_id) where not is_final;

create table freezes (
  id              text primary key,
  project_id      text not null references projects on delete cascade,
  -- Null = the whole project.
  environment_id  text,
  reason          text not null,
  -- Null = until it is lifted.
  until           timestamptz,
  created_by      text not null,
  created_at      timestamptz not null default now(),
  lifted_by       text,
  lifted_at       timestamptz,
  foreign key (environment_id, project_id) references environments (id, project_id) on delete cascade,
  constraint freeze_ends_after_it_begins check (until > created_at),
  constraint lifted_by_somebody check ((lifted_by is null) = (lifted_at is null))
);
create index freezes_not_lifted on freezes (project_id) where lifted_at is null;

-- ── previews
create table previews (
  environment_id  text primary key,
  project_id      text not null references projects on delete cascade,
  webhook_id      text not null references webhooks on delete cascade,
  -- Address of the service's source: numbers are unique within a repository only.
  repository      text not null,
  number          integer not null check (number >= 1),
  head_sha        text not null,
  head_ref        text not null,
  author          text not null,
  is_fork         boolean not null,
  expires_at      timestamptz not null,
  created_at      timestamptz not null default now(),
  foreign key (environment_id, project_id) references environments (id, project_id) on delete cascade,
  unique (project_id, repository, number)
);
create index previews_by_end on previews (expires_at);

-- Each for one commit: what a fork pushes afterwards needs another.
create table preview_approvals (
  project_id   text not null references projects on delete cascade,
  repository   text not null,
  number       integer not null,
  sha          text not null,
  -- Set while it waits: the event that asked.
  delivery_id  text references webhook_deliveries on delete set null,
  asked_at     timestamptz not null default now(),
  approved_by  text,
  approved_at  timestamptz,
  primary key (project_id, repository, number, sha),
  constraint approved_by_somebody check ((approved_by is null) = (approved_at is null))
);

-- ── private repositories
create table deploy_keys (
  id                  text primary key,
  project_id          text not null references projects on delete cascade,
  service_id          text not null,
  public_key          text not null,
  fingerprint         text not null unique,
  sealed_private_key  bytea not null,
  -- Lines of a known_hosts file for the host of the source; null = not pinned yet, so nothing is fetched.
  known_hosts         text,
  created_at          timestamptz not null default now(),
  foreign key (service_id, project_id) references services (id, project_id) on delete cascade
);
create unique index one_deploy_key_per_service on deploy_keys (service_id);

-- ── what is told to others: outboxes, written in the transaction of what they tell, sent later, never in the way
create table notification_targets (
  id              text primary key,
  project_id      text not null references projects on delete cascade,
  environment_id  text,
  kind            text not null check (kind in ('webhook', 'slack')),
  -- Slack's addresses are secrets themselves.
  sealed_url      bytea not null,
  sealed_secret   bytea,
  -- Of running, failed, rolled_back.
  told            text[] not null check (cardinality(told) between 1 and 10),
  enabled         boolean not null default true,
  created_at      timestamptz not null default now(),
  foreign key (environment_id, project_id) references environments (id, project_id) on delete cascade
);

create table notifications (
  id               text primary key,
  target_id        text not null references notification_targets on delete cascade,
  deployment_id    text not null references deployments on delete cascade,
  about            text not null,
  body             jsonb not null,
  state            text not null default 'pending' check (state in ('pending', 'sent', 'given_up')),
  attempts         integer not null default 0,
  next_attempt_at  timestamptz not null default now(),
  last_error       text,
  created_at       timestamptz not null default now(),
  sent_at          timestamptz,
  unique (target_id, deployment_id, about)
);
create index notifications_to_send on notifications (next_attempt_at) where state = 'pending';

create table commit_statuses (
  id               text primary key,
  webhook_id       text not null references webhooks on delete cascade,
  deployment_id    text not null references deployments on delete cascade,
  sha              text not null,
  status           text not null check (status in ('pending', 'success', 'failure')),
  description      text not null check (length(description) <= 140),
  target_url       text,
  state            text not null default 'pending' check (state in ('pending', 'sent', 'given_up', 'overtaken')),
  attempts         integer not null default 0,
  next_attempt_at  timestamptz not null default now(),
  last_error       text,
  created_at       timestamptz not null default now(),
  sent_at          timestamptz,
  unique (deployment_id, status)
);
create index commit_statuses_to_send on commit_statuses (next_attempt_at) where state = 'pending';

-- ── for people with psql
create view webhook_log as
  select d.received_at, p.name as project, s.name as service, w.provider, d.event, d.verdict, d.code, d.reason, d.deployment_ids, d.id
    from webhook_deliveries d
    join webhooks w on w.id = d.webhook_id
    join services s on s.id = w.service_id
    join projects p on p.id = w.project_id
   order by d.position desc;

create view active_freezes as
  select p.name as project, e.name as environment, f.reason, f.until, f.created_by, f.created_at, f.id
    from freezes f
    join projects p on p.id = f.project_id
    left join environments e on e.id = f.environment_id
   where f.lifted_at is null and (f.until is null or f.until > now());

create view access as
  select t.id, t.name, p.name as project, e.name as environment, coalesce(m.role, t.role) as role, t.verbs, m.name as member,
         t.created_at, t.last_used_at, t.expires_at, t.revoked_at,
         t.revoked_at is null and (t.expires_at is null or t.expires_at > now()) as is_valid
    from tokens t
    left join members m on m.id = t.member_id
    left join projects p on p.id = t.project_id
    left join environments e on e.id = t.environment_id;
