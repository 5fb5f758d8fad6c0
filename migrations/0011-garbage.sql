-- Reserved while its feature is being built.
select 1;
