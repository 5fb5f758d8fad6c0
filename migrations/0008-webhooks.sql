-- What wiring the webhooks added to the tables of 0002, which nothing had written to before.

alter table webhooks
  -- Where code is fetched from, whatever the last manual deployment took; never an address of a payload.
  add column repository text not null default '',
  -- The periodic look at the branch heads: when next, how often it failed in a row, what it said last.
  add column next_head_check_at timestamptz not null default now(),
  add column head_check_failures integer not null default 0,
  add column head_check_note text;
create index webhooks_to_look_at on webhooks (next_head_check_at) where enabled and checks_heads;

-- What the ref pointed at before: a push that arrives after the one that was made on top of it is known by it.
alter table branch_heads add column before_sha text;

-- canceled: neither good nor bad, somebody stopped it or a newer push took its place in the queue.
alter table commit_statuses
  drop constraint commit_statuses_status_check,
  drop constraint commit_statuses_deployment_id_status_key,
  add constraint commit_statuses_status_check check (status in ('pending', 'success', 'failure', 'canceled')),
  add constraint status_told_once unique (webhook_id, deployment_id, status),
  add column service_environment_id text not null references service_environments on delete cascade,
  -- Of several about one commit and service the newest counts.
  add column position bigint generated always as identity,
  -- Until then somebody is sending it.
  add column claimed_until timestamptz;
create index commit_statuses_in_order on commit_statuses (webhook_id, service_environment_id, sha, position);

alter table notifications add column claimed_until timestamptz;
alter table notification_targets
  add column name text not null default '' check (length(name) <= 100),
  add column created_by text;
create index notification_targets_of_project on notification_targets (project_id) where enabled;

-- ── for people with psql
create view outbox as
  select 'commit status' as kind, c.id, c.deployment_id, c.status as about, c.state, c.attempts, c.next_attempt_at, c.last_error, c.created_at
    from commit_statuses c
  union all
  select 'notification', n.id, n.deployment_id, n.about, n.state, n.attempts, n.next_attempt_at, n.last_error, n.created_at
    from notifications n;
