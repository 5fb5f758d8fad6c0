/** How a place that reads foreign text is kept from holding the event loop. */
export type Bound =
  /** In steps that are counted, with rests. */
  | 'sliced'
  /** In a thread of its own that is ended at a deadline. */
  | 'thread'
  /** Small enough by a bound of `core/limits.ts`. */
  | 'small'
  /** Not foreign: our own files, processes and settings. */
  | 'own'
  /** Runs in a program of its own, not on the server: the command line, the edge, an instance. */
  | 'elsewhere'

/** What a file has that makes it one of the list, as it stands in the source. */
export const MARKS: Readonly<Record<string, RegExp>> = {
  glob: /from '[./\w-]*\/glob(?:-automaton)?\.ts'/,
  'ignore file': /from '[./\w-]*\/ignore-file\.ts'/,
  'regular expression from text': /new RegExp\(/,
  JSON: /JSON\.parse\(/,
  YAML: /from 'yaml'/,
  TOML: /from 'smol-toml'/,
  distance: /from 'fastest-levenshtein'/,
  automaton: /from '[./\w-]*\/pattern-automaton\.ts'/,
  archive: /from 'tar-stream'/,
}

/**
 * Every file of `src/` in which a pattern or a parser may meet text that somebody else wrote. A new one joins this list with its bound, and
 * `foreign-text.test.ts` with its worst case.
 */
export const FOREIGN_TEXT: Readonly<Record<string, Bound>> = {
  'api/create-api.ts': 'own',
  'api/read-body.ts': 'small',
  'artifacts/tree-store.ts': 'own',
  'builders/dockerfile/dockerfile-text.ts': 'small',
  'builders/dockerfile/dockerfile-words.ts': 'small',
  'builders/dockerfile/step-limits.ts': 'small',
  'builders/recipe/artifact.ts': 'sliced',
  'builders/recipe/bases.ts': 'own',
  'builders/recipe/deploy-files.ts': 'sliced',
  'builders/recipe/failure-cause.ts': 'own',
  'builders/recipe/layer-store.ts': 'own',
  'builders/recipe/runtime-layer-store.ts': 'own',
  'cli/client.ts': 'elsewhere',
  'cli/commands/server.ts': 'elsewhere',
  'cli/main.ts': 'elsewhere',
  'cli/server-process.ts': 'elsewhere',
  'cli/sse-frames.ts': 'elsewhere',
  'config/convert.ts': 'elsewhere',
  'config/detect/deno.ts': 'thread',
  'config/detect/node-frameworks.ts': 'thread',
  'config/detect/node-manifest.ts': 'thread',
  'config/detect/other-platforms.ts': 'thread',
  'config/detect/python-packages.ts': 'thread',
  'config/detect/python-start.ts': 'thread',
  'config/detect/ruby.ts': 'thread',
  'config/detect/rust.ts': 'thread',
  'config/dialects/ezforge.ts': 'thread',
  'config/manifest/fields.ts': 'thread',
  'config/manifest/read-yaml.ts': 'thread',
  'config/manifest/schema.ts': 'thread',
  'config/manifest/yaml-bounds.ts': 'thread',
  'config/nearest.ts': 'small',
  'config/setting-parsers.ts': 'own',
  'container-engine/engine-frames.ts': 'small',
  'container-engine/http-engine.ts': 'own',
  'container-engine/registry-auth.ts': 'small',
  'core/disk-use.ts': 'own',
  'core/glob.ts': 'sliced',
  'core/ignore-file.ts': 'sliced',
  'core/pack-tree.ts': 'sliced',
  'core/redact.ts': 'sliced',
  'edge/embedded/edge-config.ts': 'own',
  'edge/embedded/edge-lock.ts': 'own',
  'edge/embedded/edge-process.ts': 'own',
  'edge/embedded/launch.ts': 'own',
  'edge/embedded/main.ts': 'own',
  'edge/embedded/rpc.ts': 'own',
  'edge/embedded/table-file.ts': 'own',
  'engine/variables.ts': 'own',
  'registry/oci.ts': 'small',
  'registry/registry-client.ts': 'small',
  'runtimes/docker/container-log.ts': 'own',
  'runtimes/docker/container-record.ts': 'own',
  'runtimes/docker/exit-watch.ts': 'own',
  'runtimes/docker/put-files.ts': 'own',
  'runtimes/process/instance-record.ts': 'own',
  'runtimes/process/kept-environments.ts': 'own',
  'runtimes/process/orphan-labels.ts': 'own',
  'runtimes/process/run-support.ts': 'own',
  'sandbox/network/member-book.ts': 'own',
  'sandbox/tenant-users.ts': 'own',
  'scanner/image-layers.ts': 'sliced',
  'scanner/leak-matcher.ts': 'sliced',
  'scanner/left-running.ts': 'own',
  'scanner/trivy-report.ts': 'thread',
  'scanner/trivy-version.ts': 'own',
  'server/version.ts': 'own',
  'sources/git-ref.ts': 'small',
  'sources/ignore-rules.ts': 'elsewhere',
  'sources/unpack.ts': 'sliced',
  'sources/webhooks/payload.ts': 'thread',
  'sources/webhooks/trigger-matchers.ts': 'sliced',
  'static-server/site-options.ts': 'elsewhere',
  'store/channels.ts': 'own',
  'store/embedded/binaries.ts': 'own',
  'store/embedded/placement.ts': 'own',
}
