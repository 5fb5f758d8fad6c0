-- Keys that values are sealed with, credentials for private repositories, and who set a variable.

-- A key is known by its id, which tells nothing of it; the key itself is never here.
create table sealing_keys (
  id          bytea primary key,
  -- retiring: nothing is sealed with it any more, what was is being sealed anew. retired: nothing may be.
  state       text not null check (state in ('active', 'retiring', 'retired')),
  -- The server that rotates it: after a crash it is the one that goes on.
  server_id   text references servers,
  changed_at  timestamptz not null default now()
);

-- A writer that still has a retired key (a request that was under way, another server) is refused: nothing could open what it wrote.
create function refuse_retired_key() returns trigger language plpgsql as $$
declare
  sealed bytea;
begin
  execute format('select ($1).%I', tg_argv[0]) using new into sealed;
  if sealed is not null and substring(sealed from 1 for 1) = '\x02'
     and exists (select from sealing_keys k where k.id = substring(sealed from 2 for 8) and k.state = 'retired') then
    raise exception 'a value for %.% is sealed with a key that was retired', tg_table_name, tg_argv[0] using errcode = '40001';
  end if;
  return new;
end
$$;

-- Every column that holds sealed values is named so.
create view sealed_columns as
  select c.table_name::text as "table", c.column_name::text as "column"
    from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
   where c.table_schema = current_schema() and t.table_type = 'BASE TABLE' and c.udt_name = 'bytea' and c.column_name like 'sealed\_%';

-- Retires a key if nothing is sealed with it; returns how many values still are. Making the triggers locks out every writer until the
-- end of the transaction, so that what was counted is all there is; a column that a later migration adds is covered too.
create function retire_sealing_key(key bytea) returns bigint language plpgsql as $$
declare
  place record;
  found bigint;
  total bigint := 0;
begin
  for place in select * from sealed_columns order by 1, 2 loop
    execute format('create or replace trigger %I before insert or update of %I on %I for each row execute function refuse_retired_key(%L)',
                   'refuse_retired_key_' || place."column", place."column", place."table", place."column");
  end loop;
  for place in select * from sealed_columns loop
    execute format('select count(*) from %I where substring(%I from 1 for 9) = ''\x02''::bytea || $1', place."table", place."column")
      using key into found;
    total := total + found;
  end loop;
  if total = 0 then
    update sealing_keys set state = 'retired', changed_at = now() where id = key and state = 'retiring';
  end if;
  return total;
end
$$;

alter table variables add column updated_by text;

-- A token for every https repository of a project on one host.
create table git_tokens (
  project_id    text not null references projects on delete cascade,
  -- host or host:port, as in the address of the repository.
  host          text not null check (length(host) between 1 and 260),
  username      text not null,
  sealed_token  bytea not null,
  created_by    text,
  updated_at    timestamptz not null default now(),
  primary key (project_id, host)
);
