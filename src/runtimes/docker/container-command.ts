import { ShiplockError } from '../../core/errors.ts'
import { runScript } from '../process/launch-scripts.ts'
import type { InstanceSpec } from '../runtime.ts'
import type { LocalImage } from './image-of.ts'

/**
 * Parent of user commands in a container: hands SIGTERM to the whole process group, since an engine signals the first process only, and
 * ends with the code of the command. The first `wait` ends with the signal, the second with the command. It has no standard error of its
 * own: shells announce on it which signal ended their command, which is no output of the app. What RUN_SCRIPT reports goes to standard
 * output, each line behind a tag by which it is taken out of the log.
 */
const GROUP_SCRIPT = `
trap 'trap "" TERM; kill -TERM 0' TERM
_sl_tag=$1
shift
export _sl_tag
exec 5>&2 2>/dev/null
"$@" 2>&5 4>&1 5>&- &
_sl_child=$!
while :; do
  wait "$_sl_child"
  _sl_code=$?
  kill -0 "$_sl_child" || exit "$_sl_code"
done
`.trim()

/** Entrypoint and command of an instance; null = the image's own. */
export interface ContainerCommand {
  readonly entrypoint: readonly string[] | null
  readonly command: readonly string[] | null
}

/** @throws LAUNCH_FAILED when there is nothing to run */
export function commandOf(
  image: LocalImage,
  spec: Pick<InstanceSpec, 'initCommands' | 'initFailure' | 'startCommands'>,
  tag: string,
): ContainerCommand {
  const own = [...image.entrypoint, ...image.command]
  if (spec.startCommands.length === 0 && own.length === 0) {
    throw new ShiplockError('LAUNCH_FAILED', 'the image has neither CMD nor ENTRYPOINT, and run.start is not set', {
      hint: 'Set run.start, or add a CMD to the Dockerfile.',
    })
  }
  if (spec.startCommands.length === 0 && spec.initCommands.length === 0) return { entrypoint: null, command: null }
  const start = spec.startCommands.length === 0 ? ['exec', ...own] : ['shell', ...spec.startCommands]
  return inGroup(tag, runScript(spec.initFailure, spec.initCommands, start))
}

export function taskCommand(command: string, tag: string): ContainerCommand {
  return inGroup(tag, runScript('continue', [], ['shell', command]))
}

function inGroup(tag: string, argv: readonly string[]): ContainerCommand {
  return { entrypoint: ['/bin/sh', '-c', GROUP_SCRIPT, 'shiplock', tag], command: argv }
}

/** The port of an instance of an image: what the configuration says, else what the image exposes, else the usual one. */
export function portOf(wanted: number | null, image: LocalImage): number {
  if (wanted !== null) return wanted
  const { exposedPorts } = image
  return COMMON_PORTS.find((port) => exposedPorts.includes(port) && exposedPorts.length > 1) ?? exposedPorts[0] ?? DEFAULT_PORT
}
/** Preferred among several that an image exposes, e.g. 80 over 443. */
const COMMON_PORTS = [8080, 3000, 80, 8000, 5000]
const DEFAULT_PORT = 8080
