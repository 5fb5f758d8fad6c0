-- Which of a release's sealed variables hold secrets: what was one then is never shown, even when nobody remembers it as one today.
alter table releases add column secret_names text[] not null default '{}';
