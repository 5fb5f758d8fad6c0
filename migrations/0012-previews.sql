-- How a service in an environment comes to its end, and what an environment that follows a pull request is.

-- Set = it is on its way out: nothing new is deployed there, and a server takes away what is left, however often it is killed meanwhile.
alter table service_environments
  add column removing_at timestamptz,
  add column removing_by text,
  add constraint removed_by_somebody check ((removing_at is null) = (removing_by is null));
create index service_environments_to_remove on service_environments (removing_at) where removing_at is not null;

alter table environments
  add column removing_at timestamptz,
  add column removing_by text,
  -- A preview stays one when its webhook or its template goes: what it must not know, it must not know then either.
  add column is_preview  boolean not null default false,
  add column template_id text references environments on delete set null,
  add constraint environment_removed_by_somebody check ((removing_at is null) = (removing_by is null));
create index environments_to_remove on environments (removing_at) where removing_at is not null;
create index preview_environments on environments (project_id) where is_preview;

-- What people need to know of a commit that waits, to give their word for it.
alter table preview_approvals
  add column title    text not null default '',
  add column author   text not null default '',
  add column head_ref text not null default '';
alter table previews add column title text not null default '';

-- Pull requests that were opened again while their preview was on its way out; decided once it is gone.
create index deliveries_that_wait_for_an_end on webhook_deliveries (webhook_id) where verdict = 'skipped' and code = 'preview-ending';

-- ── for people with psql
create view preview_states as
  select p.name as project, e.name as environment, v.repository, v.number, v.head_sha, v.author, v.is_fork, v.expires_at, e.removing_at, v.created_at
    from previews v
    join projects p on p.id = v.project_id
    join environments e on e.id = v.environment_id;
