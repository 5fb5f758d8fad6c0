-- Names at the time: what is said about a project can be read after the project is gone.
alter table audit_log
  add column project      text,
  add column environment  text;
create index audit_log_by_age on audit_log (at);
