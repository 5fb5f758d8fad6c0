-- How often deciding a delivery was begun without coming to an end: one that never does is given up.
alter table webhook_deliveries add column tries integer not null default 0;
