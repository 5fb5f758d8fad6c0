-- What deploys next, from where and when belongs to a service in an environment (I14). services.source, services.queue_policy and
-- services.trigger_rules say nothing any more; they stay for a server of the version before that still runs beside this one.

-- Where the next deployment takes its code from unless told otherwise: what somebody with rights on this environment named last.
alter table service_environments add column source jsonb;

-- What was on services may come from another environment, so each environment's own history tells: what was deployed there by hand last,
-- else by a push; where nothing was, the repository of the service's webhook. A preview has none.
update service_environments se set source = coalesce(
    (select d.source from deployments d
      where d.service_environment_id = se.id and d.kind = 'deploy' and d.source is not null and d.trigger->>'kind' not in ('webhook', 'schedule')
      order by d.position desc limit 1),
    (select d.source from deployments d
      where d.service_environment_id = se.id and d.kind = 'deploy' and d.source is not null order by d.position desc limit 1),
    (select jsonb_build_object('kind', 'git', 'url', w.repository, 'ref', null) from webhooks w
      where w.service_id = se.service_id and w.repository <> '' order by w.created_at limit 1))
  from environments e where e.id = se.environment_id and not e.is_preview;

-- When a push deploys, how what waits is treated, and where in the source the service is found: as what is live says. Before anything was
-- live: as the newest deployment there whose configuration was read says. So no deployment decides what comes after it unless it serves.
create view deploy_rules as
  select se.id as service_environment_id,
         coalesce(live.trigger, first.trigger, '{}') as trigger,
         case when se.live_deployment_id is null then first.options else live.options end as options,
         case when se.live_deployment_id is null then first.deployment_id else live.deployment_id end as said_by
    from service_environments se
    left join lateral (
      select r.config->'trigger' as trigger, origin.options, origin.id as deployment_id
        from deployments d
        join releases r on r.id = coalesce(d.release_id, d.rollback_to)
        join deployments origin on origin.id = r.deployment_id
       where d.id = se.live_deployment_id) live on true
    left join lateral (
      select d.facts->'config'->'trigger' as trigger, d.options, d.id as deployment_id
        from (select * from deployments where service_environment_id = se.id and kind = 'deploy' order by position desc limit 20) d
       where se.live_deployment_id is null
       order by (jsonb_typeof(d.facts->'config') = 'object') desc nulls last, d.position desc limit 1) first on true;

-- An upload belongs to the environment of the token that brought it; null = to the whole project.
alter table uploads drop constraint uploads_pkey;
alter table uploads add column environment_id text references environments on delete cascade;
alter table uploads add constraint upload_once unique nulls not distinct (project_id, environment_id, digest);
