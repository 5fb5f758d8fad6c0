run ->(env) { [200, {}, ["hello from Ruby"]] }
