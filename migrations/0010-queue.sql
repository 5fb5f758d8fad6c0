-- What keeps a waiting deployment back is found without reading all that ever was.
create index pending_of_service_environment on deployments (service_environment_id, position) where status = 'pending';
create index held_service_environments on service_environments (id) where hold is not null;
create index freezes_in_event_log on events (project_id, sequence) where type in ('environment.frozen', 'environment.unfrozen');
