-- What a scanner found in an artifact, whole: policy is applied to it when it is made, when it is used again and when it is shown.
create table scans (
  -- The deployment that scanned. Others that use the same report again refer to it in facts.scan.report.
  deployment_id    text primary key references deployments on delete cascade,
  project_id       text not null references projects on delete cascade,
  -- Digest of the artifact; of a tree with a runtime layer: digest+layer.
  subject          text not null,
  scanner          text not null,
  scanner_version  text,
  -- When the vulnerability database was made, as far as the scanner says so.
  database_at      timestamptz,
  scanned_at       timestamptz not null,
  critical         integer not null,
  high             integer not null,
  medium           integer not null,
  low              integer not null,
  unknown          integer not null,
  -- Targets in which packages were recognised: [{target, kind, packages}]. Empty = nothing was recognised, which is not "clean".
  targets          jsonb not null,
  -- [{id, package, installed, fixed, severity, target, title, url}], worst first, bounded.
  findings         jsonb not null,
  -- What people should know about the scan itself.
  notes            jsonb not null default '[]'
);
create index scans_of_subject on scans (project_id, subject, scanned_at desc);

-- For people with psql.
create view scan_log as
  select s.scanned_at, p.name as project, v.name as service, s.critical, s.high, s.medium, s.low, s.unknown, s.scanner_version, s.database_at,
         d.facts -> 'scan' ->> 'outcome' as outcome, d.facts -> 'scan' ->> 'note' as note, s.deployment_id
    from scans s
    join deployments d on d.id = s.deployment_id
    join projects p on p.id = s.project_id
    join services v on v.id = d.service_id
   order by s.scanned_at desc;
