import { ENVIRONMENT_END } from './environment-script.ts'

/**
 * Constant programs for /bin/sh; everything variable comes in as an argument, so that no string of a user is ever parsed as shell here.
 * JOIN_SCRIPT <marker> <environment file> <cgroup.procs file>... -- <command>...
 * runs outside: enters the cgroups before anything else exists that could escape them, and opens the environment file, which the
 * user of the sandbox could not open by himself.
 */
export const JOIN_SCRIPT = `
export SHIPLOCK_SANDBOX="$1"
exec 3<"$2" || exit 125
shift 2
while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done
shift
exec "$@"
`.trim()

/**
 * ENTER_SCRIPT <command>... runs inside, unprivileged: takes the environment from descriptor 3 and becomes the command.
 * The environment passes through a positional parameter, so that no variable of ours can shadow one of the user's.
 */
export const ENTER_SCRIPT = `
set -- "$(/bin/cat <&3)" "$@"
exec 3<&-
case "$1" in *'${ENVIRONMENT_END}') ;; *) echo 'shiplock: the environment is incomplete' >&2; exit 125 ;; esac
eval "$1"
shift
exec "$@"
`.trim()
