-- Which images were built here is asked for many digests at once.
create index releases_by_artifact on releases ((artifact->>'digest'));
